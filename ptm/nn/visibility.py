"""Which tokens of a row a token may look at."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ptm.nn.model_shape import PREFIX_SEGMENT, Visibility

# B rows, Q queries a row, K keys a row: the same tokens, but for those seen before (a cache).


def same_example(query_ids: Tensor, key_ids: Tensor) -> Tensor:
    """Example ids (B, Q), (B, K) -> (B, 1, Q, K) bool: query and key belong to one example.

    Padding (id 0) sees padding, so that no softmax is over nothing.
    """
    return (query_ids[:, :, None] == key_ids[:, None, :])[:, None]


@dataclass(frozen=True)
class Sight:
    """What queries see of the keys of their example.

    The tokens of an example stand side by side, so distance in the row is distance in the example.
    """

    visibility: Visibility = "full"
    window: int | None = None
    """Tokens around itself that a token sees, half of them on either side; none: all."""

    def allows(
        self, query_ids: Tensor, key_ids: Tensor, before: Tensor, key_segments: Tensor | None
    ) -> Tensor:
        """Whether queries see keys, for example ids, places of keys before their queries and keys'
        segments of any shapes that go together."""
        seen = query_ids == key_ids
        if self.window is not None:
            seen = seen & (before.abs() <= self.window // 2)
        if self.visibility == "causal":
            return seen & (before >= 0)
        if self.visibility == "prefix":
            assert key_segments is not None, "a visible prefix is told by segment_ids"
            return seen & ((before >= 0) | (key_segments == PREFIX_SEGMENT))
        return seen

    def mask(self, query_ids: Tensor, key_ids: Tensor, segment_ids: Tensor | None) -> Tensor:
        """Example ids (B, Q), (B, K), the keys' segments (B, K) -> (B, 1, Q, K) bool.

        The queries are the last of the keys.
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
