"""Gated convolutions within examples (Dauphin et al. 2017, "Language Modeling with Gated
Convolutional Networks")."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptm.nn.key_value_cache import StateCache
from ptm.nn.layers import Dropout
from ptm.nn.linear import linear

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
        is_fresh = self.state_cache is None or self.state_cache.is_empty
        values, ids = self._with_earlier(hidden, example_ids)
        # Tokens before a fresh row are zeros, whatever their example.
        if _holds_several(example_ids if is_fresh else ids):
            convolved = self._convolve_examples(values, ids, example_ids)
        else:
            convolved = self._convolve_rows(values)
        value, gate = convolved.chunk(2, dim=-1)
        return value * gate.sigmoid()

    def _convolve_rows(self, values: Tensor) -> Tensor:
        """Convolve rows (B, K - 1 + T, C) of one example each -> (B, T, 2D)."""
        kernel = self.weight.view(len(self.weight), self.kernel_size, -1).transpose(1, 2)
        return F.conv1d(values.transpose(1, 2), kernel, self.bias).transpose(1, 2)

    def _convolve_examples(self, values: Tensor, ids: Tensor, example_ids: Tensor) -> Tensor:
        """Convolve each example of the rows by itself: (B, K - 1 + T, C) -> (B, T, 2D)."""
        tokens = example_ids.shape[1]
        # A view of each of the K steps, zero where it is of another example; one matrix product of
        # the steps side by side is faster than one product per step.
        steps = [
            values[:, step : step + tokens]
            * (ids[:, step : step + tokens] == example_ids)[..., None]
            for step in range(self.kernel_size)
        ]
        return linear(torch.cat(steps, dim=-1), self.weight, self.bias)

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


def _holds_several(ids: Tensor) -> bool:
    """Whether an example begins within a row; what padding after the last one gets is not used."""
    before, after = ids[:, :-1], ids[:, 1:]
    return bool(((before != after) & (after != 0)).any())


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
