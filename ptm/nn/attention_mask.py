"""Attention masks: which tokens of a row a token may attend to."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ptm.nn.model_shape import PREFIX_SEGMENT, Visibility

# B rows, Q query and K key tokens per row. The keys are the queries, after the cached tokens of
# earlier calls if any.


def same_example(query_ids: Tensor, key_ids: Tensor) -> Tensor:
    """Whether query and key belong to one example: example ids (B, Q), (B, K) -> bool (B, 1, Q, K).

    Padding (id 0) attends to padding, so that no softmax is over an empty set.
    """
    return (query_ids[:, :, None] == key_ids[:, None, :])[:, None]


@dataclass(frozen=True)
class AttentionPattern:
    """An attention pattern: which keys of its example a query attends to.

    The tokens of an example are contiguous, so distances in the row are distances in the example.
    """

    visibility: Visibility = "full"
    window: int | None = None
    """Number of tokens around itself that a token attends to, half on either side; None for all."""

    def allows(
        self, query_ids: Tensor, key_ids: Tensor, before: Tensor, key_segments: Tensor | None
    ) -> Tensor:
        """Elementwise mask: whether queries attend to keys. All arguments broadcast together.

        `before` is query position - key position. `key_segments` is required for `prefix`.
        """
        seen = query_ids == key_ids
        if self.window is not None:
            seen = seen & (before.abs() <= self.window // 2)
        if self.visibility == "causal":
            return seen & (before >= 0)
        if self.visibility == "prefix":
            assert key_segments is not None, "visibility `prefix` needs segment_ids"
            return seen & ((before >= 0) | (key_segments == PREFIX_SEGMENT))
        return seen

    def mask(self, query_ids: Tensor, key_ids: Tensor, segment_ids: Tensor | None) -> Tensor:
        """The mask of a batch: example ids (B, Q), (B, K), segments (B, K) -> bool (B, 1, Q, K).

        The queries are the last Q of the keys.
        """
        if self.visibility == "full" and self.window is None:
            return same_example(query_ids, key_ids)
        queries, keys = query_ids.shape[1], key_ids.shape[1]
        place = torch.arange(keys, device=key_ids.device)
        return self.allows(
            query_ids[:, None, :, None],
            key_ids[:, None, None, :],
            place[keys - queries :, None] - place[None, :],
            None if segment_ids is None else segment_ids[:, None, None, :],
        )


FULL, CAUSAL = AttentionPattern(), AttentionPattern("causal")
"""The patterns without a window and without a prefix."""
