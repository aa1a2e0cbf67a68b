"""One vector per example: pooling over the tokens of each example of packed rows.

Reimers and Gurevych 2019 (Sentence-BERT), section 3, for the pooling of sentence embeddings.

B rows, T tokens per row, D width, P examples of all rows (padded to a fixed capacity).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptm.nn.layers import activate, build_norm
from ptm.nn.linear import Linear
from ptm.nn.model_shape import ModelShape, Pooling


class DenseTransform(nn.Module):
    """The layers of a head before its output layer: dense, activation, norm, each optional."""

    def __init__(
        self, shape: ModelShape, *, dense: bool, activation: str, norm: bool, bias: bool
    ) -> None:
        super().__init__()
        width = shape.hidden_size
        self.activation = activation
        self.dense = Linear(width, width, bias=bias) if dense else None
        self.norm = build_norm(shape, width) if norm else None

    def forward(self, hidden: Tensor) -> Tensor:
        """(…, D) -> (…, D)."""
        if self.dense is None:
            return hidden
        transformed: Tensor = activate(self.activation, self.dense(hidden))
        return transformed if self.norm is None else self.norm(transformed)


class ExamplePooler(DenseTransform):
    """Pools each example, then applies dense, activation, norm and dropout."""

    def __init__(
        self,
        shape: ModelShape,
        pooling: Pooling,
        *,
        dense: bool = True,
        activation: str = "tanh",
        norm: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__(shape, dense=dense, activation=activation, norm=norm, bias=bias)
        self.pooling = pooling
        self.dropout = nn.Dropout(shape.dropout)

    def forward(  # type: ignore[override]
        self, hidden: Tensor, example_ids: Tensor, class_positions: Tensor
    ) -> Tensor:
        """Hidden (B, T, D), example ids (B, T), positions (P) -> (P, D).

        `class_positions`: index of each example's first token in the flattened rows, in ascending
        order, or of its last one with the pooling `last`; 0 for padding.
        """
        pooled = pool_examples(hidden, example_ids, class_positions, self.pooling)
        out: Tensor = self.dropout(super().forward(pooled))
        return out


class TextEmbedding(nn.Module):
    """Pools each text to its embedding, optionally of length 1; it has no parameters."""

    def __init__(self, pooling: Pooling, *, normalize: bool) -> None:
        super().__init__()
        self.pooling: Pooling = pooling
        self.normalize = normalize

    def forward(self, hidden: Tensor, example_ids: Tensor, positions: Tensor) -> Tensor:
        """Hidden (B, T, D), example ids (B, T), positions (P) -> (P, D), as in `ExamplePooler`."""
        pooled = pool_examples(hidden, example_ids, positions, self.pooling)
        return F.normalize(pooled, dim=-1) if self.normalize else pooled


class PairClassifier(nn.Module):
    """Classifies pairs by (u, v, |u - v|) (Reimers and Gurevych 2019, section 3)."""

    def __init__(self, hidden_size: int, classes: int) -> None:
        super().__init__()
        self.dense = Linear(3 * hidden_size, classes)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Embeddings (P, D), the two texts of a pair after each other -> logits (P / 2, C)."""
        first, second = embeddings[0::2], embeddings[1::2]
        out: Tensor = self.dense(torch.cat([first, second, (first - second).abs()], dim=-1))
        return out


def pool_examples(
    hidden: Tensor, example_ids: Tensor, positions: Tensor, pooling: Pooling
) -> Tensor:
    """Hidden (B, T, D), example ids (B, T), positions (P) -> (P, D), as in `ExamplePooler`."""
    if pooling in ("mean", "max"):
        owner = owners(example_ids, positions)
        pool = _mean if pooling == "mean" else _max
        return pool(hidden.flatten(0, 1), owner, len(positions))
    return hidden.flatten(0, 1).index_select(0, positions)


def owners(example_ids: Tensor, first: Tensor) -> Tensor:
    """Return the example (0 to P - 1) of each cell of the flattened rows (B * T); P for padding.

    `example_ids` (B, T): 0 for padding. `first` (P): cells of the examples' first tokens, in
    ascending order, then zeros.
    """
    cells = example_ids.flatten()
    # An example begins at each cell of `first`. The zeros at its end repeat the first cell.
    begins = torch.zeros_like(cells).index_fill(0, first, 1)
    return torch.where(cells > 0, begins.cumsum(0) - 1, len(first))


def _mean(cells: Tensor, owner: Tensor, examples: int) -> Tensor:
    # A product with a matrix of zeros and ones (P, B * T): unlike index_add, it is deterministic
    # on GPUs.
    members = owner == torch.arange(examples, device=owner.device)[:, None]
    counts = members.sum(dim=1, keepdim=True).clamp(min=1)
    return (members.to(cells.dtype) @ cells) / counts.to(cells.dtype)


def _max(cells: Tensor, owner: Tensor, examples: int) -> Tensor:
    # The last of the P + 1 rows collects padding.
    largest = cells.new_zeros(examples + 1, cells.shape[1])
    index = owner[:, None].expand_as(cells)
    return largest.scatter_reduce(0, index, cells, "amax", include_self=False)[:-1]
