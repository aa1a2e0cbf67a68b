"""Relative positions as numbers added to scores (Raffel et al. 2019, section 2.1)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ptm.nn.cache import KeyValueCache

# B rows, Q queries a row, K keys a row, H heads.


def relative_buckets(
    relative: Tensor, *, buckets: int, max_distance: int, bidirectional: bool
) -> Tensor:
    """Place of the key less place of the query (Q, K) -> the bucket of each (Q, K).

    Half of the buckets are for one distance each, the others grow up to `max_distance`, after which
    all share the last. Bidirectional ones are halved between before and after; else what comes
    after is bucket 0, as what is at the same place.
    """
    first = torch.zeros_like(relative)
    if bidirectional:
        buckets //= 2
        first = (relative > 0).long() * buckets
        distance = relative.abs()
    else:
        distance = (-relative).clamp(min=0)
    exact = buckets // 2
    growth = (distance.float().clamp(min=1) / exact).log() / math.log(max_distance / exact)
    far = (exact + (growth * (buckets - exact)).long()).clamp(max=buckets - 1)
    return first + torch.where(distance < exact, distance, far)


class RelativePositionBias(nn.Module):
    """One table for all layers of a stack."""

    cache: KeyValueCache | None = None

    def __init__(self, heads: int, *, buckets: int, max_distance: int, bidirectional: bool) -> None:
        super().__init__()
        self.buckets = buckets
        self.max_distance = max_distance
        self.bidirectional = bidirectional
        self.weight = nn.Parameter(torch.empty(buckets, heads))

    def forward(self, example_ids: Tensor) -> Tensor:
        """(B, Q) -> (1, H, Q, K).

        Distances are those in the row: the tokens of an example stand side by side, and what
        belongs to others is hidden.
        """
        queries = example_ids.shape[1]
        keys = queries + self._seen_before(example_ids)
        place = torch.arange(keys, device=example_ids.device)
        bucket = relative_buckets(
            place[None, :] - place[keys - queries :, None],
            buckets=self.buckets,
            max_distance=self.max_distance,
            bidirectional=self.bidirectional,
        )
        # Contiguous, as what is sent to another stage has to be.
        return nn.functional.embedding(bucket, self.weight).permute(2, 0, 1)[None].contiguous()

    def _seen_before(self, example_ids: Tensor) -> int:
        """Tokens of the calls before."""
        if self.cache is None:
            return 0
        before = self.cache.length
        nothing = example_ids.new_empty((*example_ids.shape, 0))
        self.cache.extended(nothing, nothing, example_ids, None)
        return before
