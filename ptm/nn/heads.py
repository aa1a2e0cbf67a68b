"""Heads: masked tokens (Devlin et al. 2018, section 3.1), next tokens, and pairs of texts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ptm.nn.layers import activate, build_norm
from ptm.nn.model_shape import ModelShape
from ptm.nn.vocabulary_loss import target_sums
from ptm.plan import Step

# B rows, T tokens, D width, P predicted positions or examples (padded), E embedding size,
# V vocabulary.

_CLASSES = 2


class PredictedTransform(nn.Module):
    """Gathers the predicted positions, then dense, activation and norm: Google's `transform`."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.activation = shape.activation
        self.dense = nn.Linear(shape.hidden_size, shape.embedding_size, bias=shape.bias)
        self.norm = build_norm(shape, shape.embedding_size)

    def forward(self, hidden: Tensor, predicted_positions: Tensor) -> Tensor:
        """(B, T, D), (P) indices into the flattened rows -> (P, E)."""
        gathered = hidden.flatten(0, 1).index_select(0, predicted_positions)
        transformed: Tensor = self.norm(activate(self.activation, self.dense(gathered)))
        return transformed


class Unembedding(nn.Module):
    """An output matrix of its own, for heads that are not tied to the word embedding."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape.vocabulary_size, shape.embedding_size))

    def forward(
        self,
        hidden: Tensor,
        *more: Tensor,
        smoothing: float | None = None,
    ) -> Tensor | tuple[Tensor, ...]:
        """(…, E), perhaps a bias (V) -> logits (…, V).

        With `smoothing`, hidden (B, T, E), targets and weights (B, T) and perhaps a bias (V) -> the
        sums of loss, negative log likelihood and hits.
        """
        if smoothing is not None:
            return target_sums(hidden, self.weight, *more, smoothing=smoothing)
        return nn.functional.linear(hidden, self.weight, *more)


class OutputBias(nn.Module):
    """One number a token."""

    def __init__(self, vocabulary_size: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    def forward(self, logits: Tensor) -> Tensor:
        """(P, V) -> (P, V)."""
        # In place, because the logits are the largest tensor of a small model; but a tensor that
        # has just come from another stage is a leaf, which autograd lets nobody overwrite.
        return logits + self.bias if logits.is_leaf else logits.add_(self.bias)


class BiasVector(nn.Module):
    """The same numbers, handed on to whoever makes the logits."""

    def __init__(self, vocabulary_size: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    def forward(self, hidden: Tensor) -> Tensor:
        """Of the type of `hidden` (V)."""
        # A tensor of its own: ZeRO 3 takes the parameter's memory away after this call.
        return self.bias.to(hidden.dtype, copy=True)


class Scaled(nn.Module):
    """Multiplies by a fixed number."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, hidden: Tensor) -> Tensor:
        """Any shape in, the same shape out."""
        return hidden * self.factor


class Pooler(nn.Module):
    """Dense and tanh over the first token of each example."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)

    def forward(self, hidden: Tensor, pair_positions: Tensor) -> Tensor:
        """(B, T, D), (P) indices into the flattened rows -> (P, D)."""
        gathered = hidden.flatten(0, 1).index_select(0, pair_positions)
        pooled: Tensor = torch.tanh(self.dense(gathered))
        return pooled


def pair_steps(shape: ModelShape) -> tuple[Step, ...]:
    """hidden -> pair_logits (P, 2)."""
    width = shape.hidden_size
    return (
        Step("pooler", lambda: Pooler(width), ("hidden", "pair_positions"), ("pooled",)),
        Step(
            "pair_classifier",
            lambda: nn.Linear(width, _CLASSES),
            ("pooled",),
            ("pair_logits",),
        ),
    )


def class_sums(logits: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Cross entropy and hits of `logits` (P, C), summed where `weights` (P) are not 0; fp32."""
    logits = logits.float()
    ignored = targets.masked_fill(weights == 0, -100)
    hits = (logits.detach().argmax(dim=-1) == targets) & (weights != 0)
    loss = nn.functional.cross_entropy(logits, ignored, ignore_index=-100, reduction="sum")
    return loss, hits.sum().float()
