"""Heads for masked tokens (Devlin et al. 2018, section 3.1), next tokens, pairs and tags."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ptm.nn.layers import activate, build_norm
from ptm.nn.linear import Linear, linear
from ptm.nn.model_shape import ModelShape
from ptm.nn.vocabulary_loss import target_sums
from ptm.plan import Operation

# B rows, T tokens per row, D width, E embedding size, V vocabulary size, C classes,
# P predicted positions or examples (padded to a fixed capacity).

_CLASSES = 2


class PredictedTransform(nn.Module):
    """Gathers the masked positions, then applies dense, activation, norm (BERT's `transform`)."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.activation = shape.activation
        self.dense = Linear(shape.hidden_size, shape.embedding_size, bias=shape.bias)
        self.norm = build_norm(shape, shape.embedding_size)

    def forward(self, hidden: Tensor, predicted_positions: Tensor) -> Tensor:
        """Hidden (B, T, D), indices into the flattened rows (P) -> (P, E)."""
        gathered = hidden.flatten(0, 1).index_select(0, predicted_positions)
        transformed: Tensor = self.norm(activate(self.activation, self.dense(gathered)))
        return transformed


class Unembedding(nn.Module):
    """An output matrix (V, E) that is not tied to the word embedding."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape.vocabulary_size, shape.embedding_size))

    def forward(
        self,
        hidden: Tensor,
        *more: Tensor,
        smoothing: float | None = None,
    ) -> Tensor:
        """Hidden (…, E), optionally a bias (V) -> logits (…, V).

        With `smoothing`: hidden (B, T, E), targets and weights (B, T), optionally a bias (V) -> the
        sums of loss, negative log likelihood and hits (3), as in `vocabulary_sums`.
        """
        if smoothing is not None:
            return target_sums(hidden, self.weight, *more, smoothing=smoothing)
        return linear(hidden, self.weight, *more)


class OutputBias(nn.Module):
    """The output bias: one value per token of the vocabulary."""

    def __init__(self, vocabulary_size: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    def forward(self, logits: Tensor) -> Tensor:
        """(P, V) -> (P, V), added in place if possible."""
        # Logits are the largest tensor of a small model. But a tensor received from another
        # pipeline stage is a leaf, which autograd does not allow to be overwritten.
        return logits + self.bias if logits.is_leaf else logits.add_(self.bias)


class BiasVector(nn.Module):
    """The output bias as a tensor of the plan, for a later operation that computes the logits."""

    def __init__(self, vocabulary_size: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    def forward(self, hidden: Tensor) -> Tensor:
        """The bias (V) in the dtype of `hidden`."""
        # A copy, because ZeRO-3 releases the parameter's memory after this call.
        return self.bias.to(hidden.dtype, copy=True)


class Scaled(nn.Module):
    """Multiplies by a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, hidden: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return hidden * self.factor


class TagClassifier(nn.Linear):
    """Dropout, then one logit per tag, at every cell of the rows."""

    def __init__(self, hidden_size: int, tags: int, *, dropout: float, bias: bool = True) -> None:
        super().__init__(hidden_size, tags, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        """Hidden (B, T, D) -> (B, T, C)."""
        return super().forward(self.dropout(hidden))


class Pooler(nn.Module):
    """BERT's pooler: dense and tanh on one position per example, that of its first token."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.dense = Linear(hidden_size, hidden_size)

    def forward(self, hidden: Tensor, pair_positions: Tensor) -> Tensor:
        """Hidden (B, T, D), indices into the flattened rows (P) -> (P, D)."""
        gathered = hidden.flatten(0, 1).index_select(0, pair_positions)
        pooled: Tensor = torch.tanh(self.dense(gathered))
        return pooled


def pair_operations(shape: ModelShape) -> tuple[Operation, ...]:
    """The operations hidden (B, T, D), pair_positions (P) -> pair_logits (P, 2)."""
    width = shape.hidden_size
    return (
        Operation("pooler", lambda: Pooler(width), ("hidden", "pair_positions"), ("pooled",)),
        Operation(
            "pair_classifier",
            lambda: nn.Linear(width, _CLASSES),
            ("pooled",),
            ("pair_logits",),
        ),
    )


def class_sums(
    logits: Tensor,
    targets: Tensor,
    weights: Tensor,
    *,
    class_weights: Sequence[float] | None = None,
) -> tuple[Tensor, Tensor]:
    """Cross entropy and number of hits of `logits` (P, C), summed where `weights` (P) is not 0.

    A hit is a target that has the largest logit. `class_weights` (C): factors of the cross entropy
    of each class. Returns two fp32 scalars; both are sums, not means.
    """
    logits = logits.float()
    ignored = targets.masked_fill(weights == 0, -100)
    hits = (logits.detach().argmax(dim=-1) == targets) & (weights != 0)
    factors = None if class_weights is None else logits.new_tensor(class_weights)
    loss = nn.functional.cross_entropy(logits, ignored, factors, ignore_index=-100, reduction="sum")
    return loss, hits.sum().float()
