"""Positions: rotary, relative biases, learned tables and sinusoidal."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ptm.nn.key_value_cache import KeyValueCache
from ptm.nn.model_shape import SinusoidalOrder

# B rows, T tokens per row, Q query and K key tokens per row, H heads, S head size,
# E embedding size.

_UER_FIRST = 2
"""The number that UER-py gives to the first position."""


def relative_buckets(
    relative: Tensor, *, buckets: int, max_distance: int, bidirectional: bool
) -> Tensor:
    """T5's buckets of relative positions (key position - query position), elementwise.

    Half of the buckets are for one distance each. The others grow logarithmically up to
    `max_distance`; all distances from there on share the last one. If `bidirectional`, one half of
    the buckets is for keys before the query and one half for keys after it. Otherwise all keys
    after the query are in bucket 0, like the key at the same position.
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
    """T5's relative position bias: one table (buckets, heads) for all layers of a stack."""

    cache: KeyValueCache | None = None

    def __init__(self, heads: int, *, buckets: int, max_distance: int, bidirectional: bool) -> None:
        super().__init__()
        self.buckets = buckets
        self.max_distance = max_distance
        self.bidirectional = bidirectional
        self.weight = nn.Parameter(torch.empty(buckets, heads))

    def forward(self, example_ids: Tensor) -> Tensor:
        """Example ids (B, Q) -> the bias of each distance (H, Q + K - 1), for `distance_matrix`.

        Distances in the row are used: the tokens of an example are contiguous, and other examples
        are masked.
        """
        queries = example_ids.shape[1]
        keys = queries + self._append_to_cache(example_ids)
        bucket = relative_buckets(
            torch.arange(1 - keys, queries, device=example_ids.device),
            buckets=self.buckets,
            max_distance=self.max_distance,
            bidirectional=self.bidirectional,
        )
        # In fp32, so that half precision does not lose gradients in the sum over a bucket.
        biases = nn.functional.embedding(bucket, self.weight.float()).to(self.weight.dtype)
        # Contiguous, because it may be sent to another pipeline stage.
        return biases.t().contiguous()

    def _append_to_cache(self, example_ids: Tensor) -> int:
        """The number of tokens of earlier calls; counts those of this one in the cache."""
        if self.cache is None:
            return 0
        before = self.cache.length
        nothing = example_ids.new_empty((*example_ids.shape, 0))
        self.cache.append(nothing, nothing, example_ids, None)
        return before


def distance_matrix(biases: Tensor, queries: int) -> Tensor:
    """The bias of each distance (H, Q + K - 1) -> that of each pair of positions (1, H, Q, K).

    The distances, key position - query position, ascend from 1 - K to Q - 1; the queries are the
    last Q of the keys. So each row of the matrix is a window of K biases, which begins one entry
    earlier than that of the row above.
    """
    keys = biases.shape[1] - queries + 1
    # In fp32, so that half precision does not lose gradients in the sum over a distance.
    return biases.float().unfold(-1, keys, 1).flip(1)[None].to(biases.dtype)


def apply_rotary(heads: Tensor, position_ids: Tensor, *, theta: float) -> Tensor:
    """Rotate each pair (i, i + S/2) of (B, H, T, S) by the angle position (B, T) x theta^(-2i / S).

    Computed in fp32, because half precision cannot represent the angles of late positions; returned
    in the dtype of `heads`.
    """
    size = heads.shape[-1]
    exponents = torch.arange(0, size, 2, dtype=torch.float32, device=heads.device) / size
    angles = (position_ids[..., None].float() * (1.0 / theta**exponents))[:, None]
    cosines, sines = angles.cos(), angles.sin()
    first, second = heads.float().chunk(2, dim=-1)
    turned = (first * cosines - second * sines, second * cosines + first * sines)
    return torch.cat(turned, dim=-1).to(heads.dtype)


class PositionTable(nn.Embedding):
    """One row per position, after `offset` rows that come before position 0."""

    def __init__(self, positions: int, width: int, *, offset: int) -> None:
        super().__init__(positions, width)
        self.offset = offset

    def forward(self, position_ids: Tensor) -> Tensor:
        """Positions (B, T), which start from 0 in every example of a row -> (B, T, E)."""
        return super().forward(position_ids + self.offset)


class SinusoidalPositions(nn.Module):
    """Sines and cosines of E/2 wavelengths; `order` as in `EmbeddingConfig.sinusoidal_order`."""

    def __init__(self, width: int, *, order: SinusoidalOrder = "halves") -> None:
        super().__init__()
        self.width = width
        self.order = order

    def forward(self, position_ids: Tensor) -> Tensor:
        """Positions (B, T) -> (B, T, E)."""
        sines, cosines = self._exponents(position_ids.device)
        first = _UER_FIRST if self.order == "uer" else 0
        places = (position_ids[..., None] + first).double()
        # Angles in fp64: in fp32 that of a position in the hundreds is wrong in the fifth digit.
        angles = (places * 10000.0**-sines).remainder(2 * math.pi).float()
        waves = (angles.sin(), angles[..., : len(cosines)].cos())
        if self.order == "halves":
            return torch.cat(waves, -1)
        padded = nn.functional.pad(waves[1], (0, len(sines) - len(cosines)))
        found = torch.stack((waves[0], padded), -1).flatten(-2)[..., : self.width]
        return nn.functional.pad(found, (0, self.width - found.shape[-1]))

    def _exponents(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Exponents of the wavelengths of the sines and of the cosines, from 0 to about 1.

        An odd width has one more sine than cosines; UER-py's order has a zero there.
        """
        half = self.width // 2
        if self.order == "uer":
            exponents = torch.arange(half, device=device).double() / max(1, half - 1)
            return exponents, exponents
        exponents = torch.arange(0, self.width, 2, device=device).double() / self.width
        return exponents, exponents[:half]
