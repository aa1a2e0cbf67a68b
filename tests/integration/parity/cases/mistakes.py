"""Deliberate mistakes in a model; each must change its logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from ptm.model.plain_model import loaded_model
from tests.integration.parity.cases.inputs import Batch
from tests.integration.parity.cases.models import ExportedModel, Weights, with_changes
from tests.support.bert_pairs import POSITIONS, recipe_of
from tests.support.two_sided import plan_of


@dataclass(frozen=True, eq=False)
class Mistake:
    """`logits`: computes the logits of ptm's model with the mistake, on packed rows."""

    name: str
    logits: Callable[[ExportedModel], Tensor]

    def __str__(self) -> str:
        return self.name


def option(block: str, **values: Any) -> Mistake:
    """The same weights under a recipe with other values in one block."""

    def logits(model: ExportedModel) -> Tensor:
        blocks = with_changes(model.blocks, {})
        if "decoder" in blocks["model"]:
            # Without its own block the target embedding would follow the source's.
            blocks["model"].setdefault("target_embedding", dict(blocks["model"]["embedding"]))
        plan = plan_of(recipe_of(with_changes(blocks, {block: values})))
        wrong = loaded_model(plan, model.weights, source="changed")
        return model.inputs.ptm_logits(wrong, model.inputs.packed)

    shown = ",".join(f"{key}={value}" for key, value in values.items())
    return Mistake(f"{block}.{shown}", logits)


def weights(change: Callable[[Weights], None]) -> Mistake:
    """The same recipe with weights changed by `change`."""

    def logits(model: ExportedModel) -> Tensor:
        changed = {name: tensor.clone() for name, tensor in model.weights.items()}
        change(changed)
        return logits_with(model, changed)

    return Mistake(change.__name__, logits)


def batch(name: str, *, of: str, change: Callable[[Batch], Tensor]) -> Mistake:
    """The same model on packed rows in which the tensor `of` is changed."""

    def logits(model: ExportedModel) -> Tensor:
        rows = model.inputs.packed
        changed = change(rows)
        assert not torch.equal(changed, rows[of]), "the mistake changes something"
        return model.inputs.ptm_logits(model.ours, {**rows, of: changed})

    return Mistake(name, logits)


def logits_with(model: ExportedModel, changed: Weights) -> Tensor:
    """Logits on packed rows with the weights of `changed` replaced."""

    def wrong(batch: Batch) -> Any:
        return functional_call(model.ours, changed, (batch,))

    return model.inputs.ptm_logits(wrong, model.inputs.packed)


SEEN = batch(
    "examples_attend_to_each_other",
    of="example_ids",
    change=lambda rows: (rows["example_ids"] > 0).long(),
)
SEEN_TARGETS = batch(
    "targets_attend_to_each_other",
    of="decoder_example_ids",
    change=lambda rows: (rows["decoder_example_ids"] > 0).long(),
)
PADDING_SEEN = batch(
    "padding_is_attended_to", of="example_ids", change=lambda rows: rows["example_ids"].clamp(min=1)
)
RUNNING_POSITIONS = batch(
    "positions_do_not_restart_in_a_packed_row",
    of="position_ids",
    # Up to the end of the smallest position embedding.
    change=lambda rows: (
        torch.arange(POSITIONS)
        .clamp(max=POSITIONS - 3)[: rows["input_ids"].shape[1]]
        .expand_as(rows["input_ids"])
    ),
)
SHIFTED_POSITIONS = batch(
    "positions_start_at_1", of="position_ids", change=lambda rows: rows["position_ids"] + 1
)
DOUBLED_POSITIONS = batch(
    "positions_are_doubled", of="position_ids", change=lambda rows: 2 * rows["position_ids"]
)
ABSOLUTE = (SEEN, PADDING_SEEN, SHIFTED_POSITIONS, RUNNING_POSITIONS)
"""For a bidirectional model with a position embedding."""


def wrong_tensors(model: ExportedModel) -> Iterator[tuple[str, str, Tensor]]:
    """For every parameter and mistake: the parameter's name, the mistake, the wrong tensor."""
    stack: Any = model.recipe.model.encoder
    queries, head_size = stack.head_shape.query_width, stack.head_shape.head_size
    for name, tensor in model.weights.items():
        for mistake, wrong in _wrong(name, tensor, queries=queries, head_size=head_size):
            yield name, mistake, wrong


def _wrong(
    name: str, tensor: Tensor, *, queries: int, head_size: int
) -> Iterator[tuple[str, Tensor]]:
    module = name.rpartition(".")[0]
    if module.endswith("attention.qkv"):
        keys = (len(tensor) - queries) // 2
        query, key, value = tensor.split([queries, keys, keys])
        if tensor.dim() == 1:
            # The key's bias adds a constant to all scores of a query, which softmax ignores.
            yield "no query bias", torch.cat((torch.zeros_like(query), key, value))
            yield "no value bias", torch.cat((query, key, torch.zeros_like(value)))
            return
        first, rest = query[:keys], query[keys:]
        yield "query and key swapped", torch.cat((key, rest, first, value))
        yield "query and value swapped", torch.cat((value, rest, key, first))
        yield "key and value swapped", torch.cat((query, value, key))
        yield "attention not scaled", torch.cat((query * head_size**0.5, key, value))
    elif module.endswith("cross_attention.key_value"):
        key, value = tensor.chunk(2)
        if tensor.dim() == 1:
            yield "no value bias", torch.cat((key, torch.zeros_like(value)))
        else:
            yield "key and value swapped", torch.cat((value, key))
    elif tensor.dim() == 1:
        is_norm = "norm" in module and name.endswith("weight")
        yield "missing", torch.full_like(tensor, float(tensor.mean()) if is_norm else 0.0)
    elif module.endswith("gate_up"):
        yield "gate and up swapped", torch.cat(tensor.chunk(2)[::-1])
    elif tensor.shape[0] == tensor.shape[1]:
        yield "transposed", tensor.T.contiguous()
    else:
        yield "rows moved by one", tensor.roll(1, dims=0)
