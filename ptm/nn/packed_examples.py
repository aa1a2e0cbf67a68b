"""What the attention layers of a model share for one micro-batch of packed rows.

B rows, T tokens per row, K examples of the fullest row, H heads.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from ptm.nn.attention_mask import CAUSAL, FULL, AttentionPattern, same_example
from ptm.nn.positions import distance_matrix


@dataclass(frozen=True)
class PackedShape:
    """Upper bounds for the examples of one or several micro-batches, known on the host.

    `examples_per_row`: K. `longest`: tokens of the longest example, or padding of a row, of either
    side. `fills_rows`: whether each row is one example without padding.

    `source_rows`, `target_rows`, `memory_columns`: rows of the encoder and of the decoder, and
    columns of the memory beside the latter, if the two sides are packed apart; else 0.
    """

    examples_per_row: int
    longest: int
    fills_rows: bool
    source_rows: int = 0
    target_rows: int = 0
    memory_columns: int = 0

    @staticmethod
    def over(shapes: Iterable[PackedShape]) -> PackedShape:
        """The bounds that hold for all `shapes`."""
        several = list(shapes)
        return PackedShape(
            examples_per_row=max((one.examples_per_row for one in several), default=0),
            longest=max((one.longest for one in several), default=0),
            fills_rows=all(one.fills_rows for one in several),
            source_rows=max((one.source_rows for one in several), default=0),
            target_rows=max((one.target_rows for one in several), default=0),
            memory_columns=max((one.memory_columns for one in several), default=0),
        )

    def as_numbers(self) -> dict[str, float]:
        """The fields as numbers, to send them to other ranks."""
        return {name: float(value) for name, value in asdict(self).items()}

    @staticmethod
    def from_numbers(numbers: Mapping[str, float]) -> PackedShape:
        """The inverse of `as_numbers`; other entries are ignored."""
        return PackedShape(
            examples_per_row=int(numbers["examples_per_row"]),
            longest=int(numbers["longest"]),
            fills_rows=bool(numbers["fills_rows"]),
            source_rows=int(numbers["source_rows"]),
            target_rows=int(numbers["target_rows"]),
            memory_columns=int(numbers["memory_columns"]),
        )


class PackedExamples:
    """Masks and offsets of a micro-batch, computed once for all layers of a model.

    They are kept as long as the tensor of example ids from which they were computed.
    """

    shape: PackedShape | None = None
    """The shape of the next micro-batch; None if it is unknown."""

    def __init__(self, *, shares_biases: bool = True) -> None:
        """`shares_biases`: whether layers share the masks with position biases.

        These carry gradients, so a block that activation checkpointing runs twice needs its own.
        """
        self._shares_biases = shares_biases
        self._found: Any = WeakTensorKeyDictionary()
        self._biased: Any = WeakTensorKeyDictionary()

    @property
    def fills_rows(self) -> bool:
        """Whether each row is one example without padding, so that no mask is needed."""
        return self.shape is not None and self.shape.fills_rows

    def mask(
        self, pattern: AttentionPattern, example_ids: Tensor, segment_ids: Tensor | None
    ) -> Tensor:
        """The mask of `pattern` within rows: ids and segments (B, T) -> bool (B, 1, T, T)."""
        known = self._known(example_ids)
        if pattern not in known:
            known[pattern] = pattern.mask(example_ids, example_ids, segment_ids)
        found: Tensor = known[pattern]
        return found

    def biased_mask(
        self,
        pattern: AttentionPattern,
        example_ids: Tensor,
        segment_ids: Tensor | None,
        position_bias: Tensor,
    ) -> Tensor:
        """The biases of `pattern`, -inf where it hides a key: (B, H, T, T), or (1, H, T, T).

        Ids and segments (B, T); `position_bias` (H, 2T - 1): the bias of each distance.
        """
        if not self._shares_biases:
            return self._biased_mask(pattern, example_ids, segment_ids, position_bias)
        known: dict[AttentionPattern, tuple[Tensor, Tensor]]
        known = self._biased.setdefault(example_ids, {})
        # Every forward pass has biases of its own, even for the same ids.
        if pattern not in known or known[pattern][0] is not position_bias:
            found = self._biased_mask(pattern, example_ids, segment_ids, position_bias)
            known[pattern] = position_bias, found
        return known[pattern][1]

    def _biased_mask(
        self,
        pattern: AttentionPattern,
        example_ids: Tensor,
        segment_ids: Tensor | None,
        position_bias: Tensor,
    ) -> Tensor:
        if not self.fills_rows or pattern not in (FULL, CAUSAL):
            return biased_mask(self.mask(pattern, example_ids, segment_ids), position_bias)
        # The rows are alike: each is one example without padding.
        if pattern == FULL:
            return distance_matrix(position_bias, example_ids.shape[1])
        first = example_ids[:1]
        return biased_mask(pattern.mask(first, first, None), position_bias)

    def cross_mask(self, example_ids: Tensor, memory_ids: Tensor) -> Tensor:
        """The mask of cross-attention: ids (B, Q), (B, K) -> bool (B, 1, Q, K)."""
        known = self._known(example_ids)
        if "cross" not in known:
            known["cross"] = cross_mask(example_ids, memory_ids)
        found: Tensor = known["cross"]
        return found

    def offsets(self, example_ids: Tensor) -> Tensor:
        """The first cell of each sequence, and the number of cells: ids (B, T) -> (B (K + 1) + 1).

        The sequences of a row are its examples, in the order of their ids, and its padding; they
        may be empty. So the sequences of two sides correspond. int32, on the device of the ids.
        """
        assert self.shape is not None, "offsets need the number of examples per row"
        known = self._known(example_ids)
        key = self.shape.examples_per_row
        if key not in known:
            known[key] = sequence_offsets(example_ids, key)
        found: Tensor = known[key]
        return found

    def _known(self, example_ids: Tensor) -> dict[Hashable, Tensor]:
        known: dict[Hashable, Tensor] = self._found.setdefault(example_ids, {})
        return known


def biased_mask(mask: Tensor, position_bias: Tensor) -> Tensor:
    """Biases with -inf where `mask` is False.

    Mask (B, 1, Q, K), the bias of each distance (H, Q + K - 1) -> (B, H, Q, K).
    """
    return distance_matrix(position_bias, mask.shape[-2]).masked_fill(~mask, float("-inf"))


def cross_mask(example_ids: Tensor, memory_ids: Tensor) -> Tensor:
    """Whether query and key belong to one example: ids (B, Q), (B, K) -> bool (B, 1, Q, K).

    An example, or padding, may have no token on the encoder's side: it attends to all keys then,
    because a softmax over nothing is NaN.
    """
    mask = same_example(example_ids, memory_ids)
    return mask | ~mask.any(dim=-1, keepdim=True)


def sequence_offsets(example_ids: Tensor, examples_per_row: int) -> Tensor:
    """`PackedExamples.offsets` for rows of at most `examples_per_row` examples."""
    ids = example_ids.long()
    counts = ids.new_zeros(len(ids), examples_per_row + 1).scatter_add_(
        1, ids, torch.ones_like(ids)
    )
    # Padding, which has id 0, is at the end of the row.
    in_order = counts.roll(-1, dims=1).flatten()
    offsets = torch.zeros(in_order.numel() + 1, dtype=torch.int32, device=ids.device)
    torch.cumsum(in_order, 0, dtype=torch.int32, out=offsets[1:])
    return offsets
