"""Plans: inputs, live tensors between two steps, parts of a plan, and their execution."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ptm.model.plain_model import PlainModel
from ptm.plan import Operation, Plan
from tests.support.small_models import block_of, mlm_of, plan_of


class _Call(nn.Module):
    """Applies a function and records the options of each call."""

    def __init__(self, function) -> None:  # type: ignore[no-untyped-def]
        super().__init__()
        self.function = function
        self.options: list[dict[str, int]] = []

    def forward(self, *tensors: Tensor, **options: int) -> object:
        self.options.append(options)
        return self.function(*tensors, **options)


def step(name: str, reads: str, writes: str, function=None, **more) -> Operation:  # type: ignore[no-untyped-def]
    return Operation(
        name,
        lambda: _Call(function or (lambda *tensors: tensors[0])),
        tuple(reads.split()),
        tuple(writes.split()),
        **more,
    )


TWO_STACKS = Plan(
    operations=(
        step("embed", "ids", "hidden"),
        step("encode", "hidden mask", "hidden"),
        step("keep", "hidden", "memory"),
        step("embed_target", "target_ids", "hidden"),
        step("decode", "hidden memory mask", "hidden"),
        step("score", "hidden", "logits"),
        step("count", "target_ids", "total"),
    ),
    outputs=("logits", "total"),
)


def test_inputs_are_the_names_that_no_step_writes_in_reading_order() -> None:
    assert TWO_STACKS.inputs == ("ids", "mask", "target_ids")


def test_a_part_of_a_plan_has_only_the_steps_that_its_outputs_need() -> None:
    def names(plan: Plan) -> list[str]:
        return [one.name for one in plan.operations]

    assert names(TWO_STACKS.only("memory")) == ["embed", "encode", "keep"]
    assert names(TWO_STACKS.only("total")) == ["count"]
    assert names(TWO_STACKS.only("logits")) == names(TWO_STACKS)[:-1]
    assert TWO_STACKS.only("total").outputs == ("total",)


def test_a_name_is_live_until_its_last_reader() -> None:
    assert [set(names) for names in TWO_STACKS.live()] == [
        {"ids", "mask", "target_ids"},
        {"hidden", "mask", "target_ids"},
        {"hidden", "mask", "target_ids"},
        {"memory", "mask", "target_ids"},
        {"hidden", "memory", "mask", "target_ids"},
        {"hidden", "target_ids"},
        {"logits", "target_ids"},
        {"logits", "total"},
    ]


def test_live_names_have_the_same_order_after_each_step() -> None:
    order = ["ids", "mask", "target_ids", "hidden", "memory", "logits", "total"]
    for names in TWO_STACKS.live()[:-1]:
        assert list(names) == sorted(names, key=order.index)


def test_the_last_live_names_are_the_outputs_in_their_order() -> None:
    reversed_outputs = Plan(TWO_STACKS.operations, outputs=("total", "logits"))
    assert reversed_outputs.live()[-1] == ("total", "logits")


def test_an_output_that_no_step_writes_fails_an_assertion() -> None:
    with pytest.raises(AssertionError, match="losses"):
        _ = Plan(TWO_STACKS.operations, outputs=("losses",)).inputs


def test_plain_model_passes_tensors_by_name() -> None:
    plan = Plan(
        operations=(
            step("split", "a b", "sum difference", lambda a, b: (a + b, a - b)),
            step("swap", "difference sum", "a", lambda d, s: 10 * d + s),
            step("last", "a b", "out", lambda a, b: a * b),
        ),
        outputs=("out", "sum"),
    )
    tensors = {"a": torch.tensor(5), "b": torch.tensor(2), "unread": torch.tensor(0)}
    found = PlainModel(plan)(tensors)
    assert {name: int(value) for name, value in found.items()} == {"out": 74, "sum": 7}


def test_tied_steps_call_one_module_with_the_options_of_each_step() -> None:
    plan = Plan(
        operations=(
            step("first", "a", "a", lambda a, plus=0: a + plus, tie="shared"),
            step("second", "a", "a", lambda a, plus=0: a - 99, tie="shared", options={"plus": 3}),
        ),
        outputs=("a",),
    )
    model = PlainModel(plan)
    assert [name for name, _ in model.named_children()] == ["shared"]
    assert int(model({"a": torch.tensor(1)})["a"]) == 4
    assert model.get_submodule("shared").options == [{}, {"plus": 3}]


def test_the_inputs_of_a_masked_model_are_those_of_its_embedding_and_head() -> None:
    assert plan_of(block_of()).inputs == (
        "input_ids",
        "position_ids",
        "segment_ids",
        "example_ids",
        "predicted_positions",
    )
    bare = block_of(embedding={"parts": ["word"]})
    assert plan_of(bare).inputs == ("input_ids", "example_ids", "predicted_positions")


def test_a_masked_model_drops_names_after_their_last_reader() -> None:
    plan = plan_of(block_of())
    live = dict(zip([step.name for step in plan.operations], plan.live()[1:], strict=True))
    assert set(live["embedding"]) == {"hidden", "example_ids", "predicted_positions"}
    assert set(live["encoder_01"]) == {"hidden", "predicted_positions"}
    assert live["mlm_transform"] == ("hidden",)
    assert live["mlm_bias"] == ("logits",)


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_parameters_are_named_after_their_steps(tied: bool) -> None:
    model = PlainModel(plan_of(block_of(), mlm_of(tied=tied)))
    names = [name for name, _ in model.named_parameters()]
    assert len(names) == len(set(names))
    assert ("mlm_unembed.weight" in names) is not tied
    assert {"word_embedding.weight", "encoder_01.attention.qkv.weight", "mlm_bias.bias"} <= {*names}


def test_layer_names_of_a_deep_model_sort_in_layer_order() -> None:
    steps = [step.name for step in plan_of(block_of(layers=36)).operations]
    layers = [name for name in steps if name.startswith("encoder_")]
    assert layers == sorted(layers)
    assert len(layers) == 36
