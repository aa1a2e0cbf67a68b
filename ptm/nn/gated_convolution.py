"""Gated convolutions within examples (Dauphin et al. 2017, "Language Modeling with Gated
Convolutional Networks")."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptm.nn.key_value_cache import StateCache
from ptm.nn.layers import Dropout

# B rows, T tokens per row, C input channels, D output channels, K kernel size.


class GatedConvolution(nn.Module):
    """A causal convolution with a gated linear unit: A * sigmoid(B).

    A and B are convolutions of the token and the K - 1 tokens before it in its example. They are
    one matrix, with A in its first half.
    """

    state_cache: StateCache | None = None
    """Example ids and inputs of the last K - 1 tokens of each row, during generation."""

    def __init__(self, input_size: int, output_size: int, *, kernel_size: int, bias: bool) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        # A matrix (2D, K C), so that optimizers treat it as one. The last of the K steps is the
        # token itself, as in torch.nn.Conv1d.
        self.weight = nn.Parameter(torch.empty(2 * output_size, kernel_size * input_size))
        self.bias = nn.Parameter(torch.empty(2 * output_size)) if bias else None

    def forward(self, hidden: Tensor, example_ids: Tensor) -> Tensor:
        """(B, T, C), ids (B, T) -> (B, T, D)."""
        values, ids = self._with_earlier(hidden, example_ids)
        tokens = example_ids.shape[1]
        # A view of each of the K steps, zero where it is of another example. One matrix product of
        # the steps side by side was faster than a product per step, and than torch's convolution.
        steps = [
            values[:, step : step + tokens]
            * (ids[:, step : step + tokens] == example_ids)[..., None]
            for step in range(self.kernel_size)
        ]
        value, gate = F.linear(torch.cat(steps, dim=-1), self.weight, self.bias).chunk(2, dim=-1)
        return value * gate.sigmoid()

    def _with_earlier(self, hidden: Tensor, example_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Values (B, K - 1 + T, C) and ids (B, K - 1 + T), after the K - 1 earlier tokens or 0."""
        earlier = self.kernel_size - 1
        if self.state_cache is None or self.state_cache.is_empty:
            values = F.pad(hidden, (0, 0, earlier, 0))
            ids = F.pad(example_ids, (earlier, 0))
        else:
            seen_ids, seen = self.state_cache.content
            values = torch.cat((seen, hidden), dim=1)
            ids = torch.cat((seen_ids, example_ids), dim=1)
        if self.state_cache is not None:
            tokens = example_ids.shape[1]
            self.state_cache.replace(ids[:, tokens:], values[:, tokens:])
        return values, ids


class GatedConvolutionBlock(nn.Module):
    """Two gated convolutions, dropout, and the residual sum."""

    def __init__(self, size: int, *, kernel_size: int, bias: bool, dropout: float) -> None:
        super().__init__()
        self.first = GatedConvolution(size, size, kernel_size=kernel_size, bias=bias)
        self.second = GatedConvolution(size, size, kernel_size=kernel_size, bias=bias)
        self.dropout = Dropout(dropout)

    def forward(self, hidden: Tensor, example_ids: Tensor) -> Tensor:
        """(B, T, D), ids (B, T) -> (B, T, D)."""
        branch = self.second(self.first(hidden, example_ids), example_ids)
        added: Tensor = hidden + self.dropout(branch)
        return added
