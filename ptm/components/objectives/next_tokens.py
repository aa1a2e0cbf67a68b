"""What all objectives that predict the next token share: targets, head, loss.

The logits of a whole row over the vocabulary are made a part at a time, within the loss; asked for
by name (`logits`), they are given whole.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64
from ptm.component import Config
from ptm.components.objectives.base import BatchView, Metric, Objective
from ptm.data.placement import Placement
from ptm.nn.model_shape import ModelShape
from ptm.plan import Step

if TYPE_CHECKING:
    from torch import Tensor

NEXT_TARGETS = ("target_weights",)
NEXT_OUTPUTS = ("loss_sum", "hit_sum")
NEXT_METRICS = (
    Metric("lm_loss", count="predicted", weight=1.0),
    Metric("lm_accuracy", count="predicted", higher_is_better=True),
)


class LmHead(Config):
    """The output layer."""

    tied: bool = True
    """Whether the output matrix is the word embedding's, a decoder's own where it has one."""
    bias: bool = False
    scaled: bool = False
    """Divide what it reads by the root of its width (T5's, where it is tied)."""


def target_tensors(
    targets: I64, weights: I64, placement: Placement
) -> dict[str, NDArray[np.int64]]:
    """For every token that is read (N), the one to predict, and 1 where it counts, else 0."""
    return {
        "target_ids": placement.grid(targets, fill=0),
        "target_weights": placement.grid(weights, fill=0),
    }


def next_token_steps(
    head: LmHead, shape: ModelShape, *, smoothing: float = 0.0
) -> tuple[Step, ...]:
    """hidden (B, T, D), target_ids, target_weights (B, T) -> loss_sum, nll_sum, hit_sum.

    Also hidden -> logits (B, T, V), for whoever asks for them. `smoothing`: the share of the
    targets that is spread over the vocabulary (Szegedy et al. 2016, section 7).
    """
    from torch import nn

    from ptm.nn.embedding import WordEmbedding
    from ptm.nn.heads import BiasVector, Scaled, Unembedding

    width, size = shape.hidden_size, shape.vocabulary_size
    before: tuple[Step, ...] = ()
    if shape.embedding_size != width:
        narrow = partial(nn.Linear, width, shape.embedding_size, bias=False)
        before += (Step("lm_projection", narrow, ("hidden",), ("hidden",)),)
    if head.scaled:
        before += (Step("lm_scale", lambda: Scaled(width**-0.5), ("hidden",), ("hidden",)),)
    bias: tuple[str, ...] = ()
    if head.bias:
        bias = ("output_bias",)
        before += (Step("lm_bias", lambda: BiasVector(size), ("hidden",), bias),)
    matrix = WordEmbedding if head.tied else Unembedding
    tie = shape.word_key if head.tied else "lm_unembed"
    return (
        *before,
        Step(
            "lm_loss",
            lambda: matrix(shape),
            ("hidden", "target_ids", "target_weights", *bias),
            ("loss_sum", "nll_sum", "hit_sum"),
            tie=tie,
            options={"smoothing": smoothing},
        ),
        Step(
            "lm_logits",
            lambda: matrix(shape),
            ("hidden", *bias),
            ("logits",),
            tie=tie,
            options={"unembed": True} if head.tied else {},
        ),
    )


class NextTokenObjective(Objective):
    """Cross entropy of every target, from a vocabulary's scores that never stand whole."""

    head: LmHead = LmHead()

    metrics: ClassVar[tuple[Metric, ...]] = NEXT_METRICS
    targets: ClassVar[tuple[str, ...]] = NEXT_TARGETS
    view: ClassVar[BatchView] = BatchView(targets=("target_ids", "target_weights"))

    def has_head(self, names: Collection[str]) -> bool:
        """A tied head has no parameter of its own."""
        return self.head.tied or "lm_unembed.weight" in names

    @property
    def needs_word_starts(self) -> bool:
        """No."""
        return False

    def steps(self, shape: ModelShape) -> tuple[Step, ...]:
        """hidden -> sums of loss and hits, or logits (B, T, V)."""
        return next_token_steps(self.head, shape)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The sums."""
        return NEXT_OUTPUTS

    def sums(
        self, outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Cross entropy and hits over all targets, as the head has summed them."""
        return {"lm_loss": outputs["loss_sum"], "lm_accuracy": outputs["hit_sum"]}
