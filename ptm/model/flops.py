"""Floating-point operations that a model needs for a batch, for the model FLOPs utilisation.

Counted are the multiplications and additions of matrix products and of attention, for real tokens
only, and the backward pass as twice the forward pass (Chowdhery et al. 2022, "PaLM", appendix B).
Padding, pairs of tokens that attention masks out, recomputed activations, teachers, lookups,
norms, dropout, softmax and the optimizer are not counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ptm.arrays import I64
from ptm.data.placement import DECODER, DECODER_EXAMPLE_IDS, EXAMPLE_IDS
from ptm.model.example_sizes import ExampleSizes
from ptm.nn.attention import CrossAttention, ResidualAttention, SelfAttention
from ptm.nn.attention_mask import AttentionPattern
from ptm.nn.embedding import WordEmbedding
from ptm.nn.positions import RelativePositionBias
from ptm.plan import Operation, Plan

_BACKWARD = 2.0
"""Operations of the backward pass per operation of the forward pass."""


@dataclass(frozen=True)
class _Attention:
    """Products of queries and keys, and of weights and values: what one score costs.

    `pattern`: None for cross-attention. `per_pair`: operations per pair of query and key.
    """

    queries: str
    keys: str
    pattern: AttentionPattern | None
    per_pair: int


class FlopCounter:
    """Counts the operations of one training step of a model.

    `blocks`: only the repeated blocks, whose forward pass runs twice with activation checkpointing.
    """

    def __init__(self, plan: Plan, *, blocks: bool = False) -> None:
        self._matrices: Counter[str] = Counter()
        self._attention: Counter[_Attention] = Counter()
        for operation, module, place in _modules(plan):
            if blocks and not operation.block:
                continue
            self._matrices.update(_matrix_elements(operation, module, place))
            self._attention.update(_attention(module, place))

    def training(self, sizes: Iterable[ExampleSizes]) -> float:
        """Operations of forward and backward pass over several micro-batches."""
        return (1.0 + _BACKWARD) * self.forward(sizes)

    def forward(self, sizes: Iterable[ExampleSizes]) -> float:
        """Operations of the forward pass over several micro-batches."""
        return float(sum(self._forward(one) for one in sizes))

    def _forward(self, sizes: ExampleSizes) -> int:
        products = sum(
            2 * elements * _count(sizes, place) for place, elements in self._matrices.items()
        )
        scores = sum(
            times * attention.per_pair * _pairs(attention, sizes)
            for attention, times in self._attention.items()
        )
        return products + scores


def _modules(plan: Plan) -> Iterator[tuple[Operation, nn.Module, str]]:
    """Each operation with its module, without memory, and the name of the positions it runs on.

    These are the tokens of one side, by the name of their example ids, or the positions that an
    index tensor or the weights of the targets select.
    """
    built: dict[str, nn.Module] = {}
    places: dict[str, str] = {name: _input_place(name) for name in plan.inputs}
    for operation in plan.operations:
        if operation.key not in built:
            with torch.device("meta"):
                built[operation.key] = operation.build()
        of_reads = [places[name] for name in operation.reads]
        selecting = [place for place in of_reads if place not in (EXAMPLE_IDS, DECODER_EXAMPLE_IDS)]
        place = (selecting or of_reads)[0]
        places.update(dict.fromkeys(operation.writes, place))
        yield operation, built[operation.key], place


def _input_place(name: str) -> str:
    if name.endswith("_positions") or name == "target_weights":
        return name
    return DECODER_EXAMPLE_IDS if name.startswith(DECODER) else EXAMPLE_IDS


def _matrix_elements(operation: Operation, module: nn.Module, place: str) -> Counter[str]:
    """Elements of the matrices that each position is multiplied by, by the kind of position."""
    found: Counter[str] = Counter()
    is_lookup = isinstance(module, WordEmbedding) and not operation.options
    if is_lookup or isinstance(module, RelativePositionBias):
        return found
    not_here: dict[int, str | None] = {
        **{id(table): None for table in _tables(module)},
        **{id(matrix): EXAMPLE_IDS for matrix in _encoder_projections(module)},
    }
    for parameter in module.parameters():
        is_on = not_here.get(id(parameter), place)
        if parameter.dim() == 2 and is_on is not None:
            found[is_on] += parameter.numel()
    return found


def _tables(module: nn.Module) -> Iterator[Tensor]:
    """Matrices that are looked up."""
    return (part.weight for part in module.modules() if isinstance(part, nn.Embedding))


def _encoder_projections(module: nn.Module) -> Iterator[Tensor]:
    """Matrices of a decoder that the encoder's output is multiplied by."""
    return (part.key_value.weight for part in module.modules() if isinstance(part, CrossAttention))


def _attention(module: nn.Module, place: str) -> Iterator[_Attention]:
    for part in module.modules():
        if isinstance(part, SelfAttention | ResidualAttention):
            yield _Attention(place, place, part.pattern, 4 * part.shape.query_width)
        elif isinstance(part, CrossAttention):
            yield _Attention(place, EXAMPLE_IDS, None, 4 * part.shape.query_width)


def _count(sizes: ExampleSizes, place: str) -> int:
    found = sizes.lengths.get(place)
    return sizes.positions[place] if found is None else int(found.sum())


def _pairs(attention: _Attention, sizes: ExampleSizes) -> int:
    """Pairs of a query and a key that it attends to, over all examples."""
    queries = sizes.lengths[attention.queries]
    if attention.pattern is None:
        return int((queries * sizes.lengths[attention.keys]).sum())
    return int(visible_pairs(attention.pattern, queries, sizes.prefixes).sum())


def visible_pairs(pattern: AttentionPattern, lengths: I64, prefixes: I64) -> I64:
    """Pairs of tokens (E) that `pattern` shows in examples of these lengths and prefixes (E)."""
    reach = lengths - 1
    if pattern.window is not None:
        reach = np.minimum(reach, pattern.window // 2)
    reach = np.maximum(reach, 0)
    # A token sees itself and, where the example is long enough, one token at each distance up to
    # `reach`: the sum of lengths - distance.
    earlier = reach * lengths - reach * (reach + 1) // 2
    if pattern.visibility == "full":
        return np.asarray(lengths + 2 * earlier)
    later = prefixes * (prefixes - 1) // 2 if pattern.visibility == "prefix" else 0
    return np.asarray(lengths + earlier + later)
