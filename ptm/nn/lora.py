"""Linear maps with low-rank updates: y = x W^T + b + scale x A^T B^T (Hu et al. 2021, section 4.1).

K inputs, N outputs, r rank, R sum of the ranks of the parts of a matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptm.nn.layers import Dropout
from ptm.nn.linear import Linear, linear


class LowRank(nn.Module):
    """The updates of some parts of a matrix, each with an A (r, K) and a B (outputs, r)."""

    def __init__(
        self,
        inputs: int,
        parts: Mapping[str, int],
        adapted: Iterable[str],
        *,
        rank: int,
        scale: float,
        dropout: float,
    ) -> None:
        """`parts`: outputs of each part of the matrix, in order; `adapted`: parts with updates."""
        super().__init__()
        self.rank, self.scale = rank, scale
        self.outputs = sum(parts.values())
        self.dropout = Dropout(dropout)
        self.ranges: dict[str, tuple[int, int]] = {}
        """Part -> first row of it in the matrix, and number of its rows."""
        adapted = set(adapted)
        start = 0
        for part, count in parts.items():
            if part in adapted:
                self.ranges[part] = start, count
                self.register_parameter(f"{part}_A", nn.Parameter(torch.empty(rank, inputs)))
                self.register_parameter(f"{part}_B", nn.Parameter(torch.empty(count, rank)))
            start += count

    def initial_bounds(self) -> Iterator[tuple[str, float]]:
        """Each parameter with the bound of the uniform distribution that it is drawn from.

        That of A is peft's, 1 / sqrt(K). B is 0, so that a training starts from W.
        """
        for part in self.ranges:
            yield f"{part}_A", 1 / math.sqrt(self.get_parameter(f"{part}_A").shape[1])
            yield f"{part}_B", 0.0

    def forward(self, x: Tensor, mapped: Tensor) -> Tensor:
        """x (…, K), x W^T + b (…, N) -> (…, N)."""
        lowered = linear(self.dropout(x), self._down())
        added = torch.addmm(
            mapped.reshape(-1, self.outputs),
            lowered.reshape(-1, lowered.shape[-1]),
            self._up().t(),
            alpha=self.scale,
        )
        return added.view(mapped.shape)

    def _down(self) -> Tensor:
        """The As below each other (R, K): one product computes all of them."""
        return torch.cat([self.get_parameter(f"{part}_A") for part in self.ranges])

    def _up(self) -> Tensor:
        """The Bs as blocks of one matrix (N, R), zero where a part reads no other part's A."""
        pieces, row = [], 0
        ranks = self.rank * len(self.ranges)
        for index, (part, (start, count)) in enumerate(self.ranges.items()):
            left = index * self.rank
            block = self.get_parameter(f"{part}_B")
            pieces.append(F.pad(block, (left, ranks - left - self.rank, start - row, 0)))
            row = start + count
        pieces.append(pieces[0].new_zeros(self.outputs - row, ranks))
        return torch.cat(pieces)


class LoraLinear(Linear):
    """A linear map with low-rank updates; `weight` and `bias` have the names of the plain map."""

    def __init__(
        self,
        like: Linear,
        parts: Mapping[str, int],
        adapted: Iterable[str],
        *,
        rank: int,
        scale: float,
        dropout: float,
    ) -> None:
        super().__init__(
            like.in_features, like.out_features, like.bias is not None, parts=like.parts
        )
        self.lora = LowRank(
            like.in_features, parts, adapted, rank=rank, scale=scale, dropout=dropout
        )

    def forward(self, input: Tensor) -> Tensor:
        """(…, K) -> (…, N)."""
        updated: Tensor = self.lora(input, super().forward(input))
        return updated


def linear_parts(module: nn.Module) -> Iterator[tuple[str, Mapping[str, int]]]:
    """The name of each linear map of `module`, and the outputs of its parts by their names.

    A matrix that holds one map has one part, with the name of the map.
    """
    for name, inner in module.named_modules():
        if isinstance(inner, Linear):
            yield name, inner.parts or {name.rpartition(".")[2]: inner.out_features}


def add_lora(
    module: nn.Module,
    chosen: Callable[[str], bool],
    *,
    rank: int,
    scale: float,
    dropout: float,
) -> nn.Module:
    """`module`, in which each linear map with a chosen part has low-rank updates.

    `chosen` decides by a name such as `attention.query`. The maps are built anew, since a
    parameter of another module may already be partitioned (ZeRO 3).
    """
    for name, parts in list(linear_parts(module)):
        above, _, last = name.rpartition(".")
        adapted = [part for part in parts if chosen(f"{above}.{part}" if above else part)]
        if not adapted:
            continue
        like = module.get_submodule(name)
        assert isinstance(like, Linear)
        setattr(
            module.get_submodule(above),
            last,
            LoraLinear(like, parts, adapted, rank=rank, scale=scale, dropout=dropout),
        )
    return module
