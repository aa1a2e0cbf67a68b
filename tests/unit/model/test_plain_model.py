"""The logits of an example do not depend on the rest of its row, and a model can learn."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ptm.errors import UserError
from ptm.model.initial_weights import initialise
from ptm.model.plain_model import empty_model, loaded_model, run_operation
from ptm.plan import Plan
from tests.support.small_models import (
    VOCABULARY,
    MakeModel,
    block_of,
    logits_of,
    mlm_of,
    plan_of,
    rows_of,
)

EXAMPLES = [[2, 7, 8, 9, 3], [2, 11, 3], [2, 30, 31, 32, 33, 34, 3], [2, 40, 41, 3]]

KINDS: dict[str, dict[str, Any]] = {
    "post": {},
    "pre": {"norm_position": "pre"},
    "sinusoidal": {"embedding": {"parts": ["word", "sinusoidal", "segment"]}},
    "words-alone": {"embedding": {"parts": ["word"], "layer_norm": False}},
    "narrow-embedding": {"embedding": {"size": 16}},
    "offset-one-segment": {"embedding": {"position_offset": 2, "positions": 42, "segments": 1}},
    "task": {"embedding": {"parts": ["word", "position", "segment", "task"]}},
    "rms-gated-without-biases": {"norm": "rms", "feed_forward": "gated", "bias": False},
    "unscaled-rotary": {"attention_scale": False, "rotary": {"theta": 100.0}},
    "windows": {"layers": 3, "window": 2, "global_every": 2},
    "residual-attention": {"layers": 3, "residual_attention": True},
    "residual-attention-pre": {"layers": 3, "residual_attention": True, "norm_position": "pre"},
    "shared": {"layers": 4, "shared_groups": 2, "embedding": {"size": 16}},
    "shared-residual": {"layers": 3, "shared_groups": 1, "residual_attention": True},
    "modern": {
        "layers": 4,
        "embedding": {"parts": ["word"]},
        "norm_position": "pre",
        "first_norm": False,
        "feed_forward": "gated",
        "bias": False,
        "window": 4,
        "global_every": 3,
        "rotary": {"theta": 1000.0, "local_theta": 100.0},
    },
}
each_kind = pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS.keys())
LEARNING = ("post", "pre", "sinusoidal", "residual-attention", "shared", "modern")


def alone(model: Any) -> Tensor:
    return torch.cat([logits_of(model, rows_of([[e]], columns=len(e))) for e in EXAMPLES])


@each_kind
def test_packed_examples_have_the_same_logits_as_alone(
    make_model: MakeModel, changes: dict[str, Any]
) -> None:
    model = make_model(block_of(**changes))
    packed = logits_of(model, rows_of([EXAMPLES[:2], EXAMPLES[2:]], columns=16))
    torch.testing.assert_close(packed, alone(model), rtol=1e-5, atol=1e-5)
    one_row = logits_of(model, rows_of([EXAMPLES], columns=sum(map(len, EXAMPLES))))
    torch.testing.assert_close(one_row, alone(model), rtol=1e-5, atol=1e-5)


@each_kind
def test_padding_does_not_change_the_logits(make_model: MakeModel, changes: dict[str, Any]) -> None:
    model = make_model(block_of(**changes))
    for columns in (7, 8, 40):
        padded = logits_of(model, rows_of([[e] for e in EXAMPLES], columns=columns))
        torch.testing.assert_close(padded, alone(model), rtol=1e-5, atol=1e-5)


def test_the_ids_of_padding_do_not_matter(make_model: MakeModel) -> None:
    model = make_model(block_of())
    rows = rows_of([[e] for e in EXAMPLES], columns=12)
    padding = rows["example_ids"] == 0
    other = {**rows, "input_ids": rows["input_ids"].masked_fill(padding, 44)}
    assert torch.equal(logits_of(model, other), logits_of(model, rows))


def test_a_token_affects_only_the_logits_of_its_own_example(make_model: MakeModel) -> None:
    model = make_model(block_of())
    rows = rows_of([EXAMPLES], columns=24)
    changed = {**rows, "input_ids": rows["input_ids"].clone()}
    changed["input_ids"][0, 6] = 12
    moved = (logits_of(model, changed) - logits_of(model, rows)).abs().amax(dim=-1) > 0
    assert moved.tolist() == [number == 2 for number in rows["example_ids"][0] if number > 0]


def test_positions_and_segments_matter(make_model: MakeModel) -> None:
    model = make_model(block_of())
    rows = rows_of([[EXAMPLES[0]]], columns=5)
    for name in ("position_ids", "segment_ids"):
        changed = {**rows, name: rows[name] + 1}
        assert not torch.allclose(logits_of(model, changed), logits_of(model, rows), atol=1e-3)


def test_only_the_masked_positions_are_scored(make_model: MakeModel) -> None:
    model = make_model(block_of())
    rows = rows_of([EXAMPLES], columns=24)
    some = {**rows, "predicted_positions": torch.tensor([3, 9])}
    assert logits_of(model, some).shape == (2, VOCABULARY)
    torch.testing.assert_close(logits_of(model, some), logits_of(model, rows)[[3, 9]])


def test_dropout_applies_only_in_training() -> None:
    block = block_of()
    model = empty_model(plan_of(block))
    initialise(model, block, seed=0)
    rows = rows_of([EXAMPLES], columns=24)
    model.eval()
    assert torch.equal(logits_of(model, rows), logits_of(model, rows))
    model.train()
    torch.manual_seed(3)
    first = logits_of(model, rows)
    assert not torch.equal(logits_of(model, rows), first)
    torch.manual_seed(3)
    assert torch.equal(logits_of(model, rows), first)


def boundaries(plan: Plan, rows: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """The named tensors that are live after each operation but the last, with their gradients."""
    model = empty_model(plan).train()
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.1)
    live, state, crossed = plan.live(), tuple(rows[n] for n in plan.inputs), []
    for index, step in enumerate(plan.operations):
        module = model.get_submodule(step.key)
        state = run_operation(step, module, state, before=live[index], after=live[index + 1])
        for tensor in state:
            if tensor.is_floating_point() and tensor.requires_grad:
                tensor.retain_grad()
        # Another pipeline stage would receive copies; here the graph is not cut.
        crossed.append(dict(zip(live[index + 1], state, strict=True)))
    crossed[-1]["logits"].square().sum().backward()
    return crossed[:-1]


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@each_kind
def test_tensors_between_operations_are_integers_or_get_a_gradient(
    changes: dict[str, Any], tied: bool
) -> None:
    plan = plan_of(block_of(**changes), mlm_of(tied=tied))
    for crossed in boundaries(plan, rows_of([EXAMPLES], columns=24)):
        assert crossed, "no tensor is passed on"
        for name, tensor in crossed.items():
            if tensor.is_floating_point():
                assert tensor.grad is not None, name
                assert tensor.grad.any(), name
            else:
                assert tensor.dtype == torch.int64, name


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@each_kind
def test_every_parameter_gets_a_gradient(changes: dict[str, Any], tied: bool) -> None:
    block = block_of(**changes)
    model = empty_model(plan_of(block, mlm_of(tied=tied)))
    initialise(model, block, seed=0)
    rows = rows_of([EXAMPLES], columns=24)
    model(rows)["logits"].logsumexp(dim=-1).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("kind", LEARNING)
def test_a_model_overfits_one_batch(kind: str) -> None:
    block, objective = block_of(**KINDS[kind]), mlm_of()
    model = empty_model(plan_of(block, objective)).eval()
    initialise(model, block, seed=0)
    generator = torch.Generator().manual_seed(0)
    examples = torch.randint(5, VOCABULARY, (12, 8), generator=generator)
    rows = rows_of([[row.tolist()] for row in examples], columns=8)
    predicted = torch.arange(12) * 8 + 3
    targets = rows["input_ids"].flatten()[predicted].clone()
    rows["input_ids"].view(-1)[predicted] = 4
    tensors = {
        **rows,
        "predicted_positions": predicted,
        "predicted_ids": targets,
        "predicted_weights": torch.ones_like(targets),
    }
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    for _ in range(200):
        optimizer.zero_grad()
        sums = objective.metric_sums(model(tensors), tensors)
        (sums["mlm_loss"] / len(targets)).backward()
        optimizer.step()
    assert float(sums["mlm_accuracy"]) / len(targets) > 0.9


def weights_of(plan: Plan) -> dict[str, Tensor]:
    return {name: torch.ones_like(p) for name, p in empty_model(plan).named_parameters()}


def test_loaded_model_has_the_given_weights() -> None:
    plan = plan_of(block_of())
    model = loaded_model(plan, {**weights_of(plan), "more": torch.ones(1)}, source="here")
    assert not model.training
    assert all((parameter == 1).all() for parameter in model.parameters())


def test_missing_weights_are_named() -> None:
    plan = plan_of(block_of())
    weights = weights_of(plan)
    del weights["encoder_01.attention.qkv.bias"]
    with pytest.raises(UserError, match=r"^here: .*encoder_01\.attention\.qkv\.bias"):
        loaded_model(plan, weights, source="here")


def test_weights_of_another_shape_are_named_with_both_shapes() -> None:
    plan = plan_of(block_of())
    weights = {**weights_of(plan), "mlm_bias.bias": torch.ones(49)}
    with pytest.raises(UserError, match=r"mlm_bias\.bias.*49.*50"):
        loaded_model(plan, weights, source="here")
