"""Distillation: a student learns its teachers' predictions.

Sanh et al. 2019 (DistilBERT), section 3. Examples, head and held-out perplexity are those of `mlm`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import model_validator

from ptm.component import Config, Listed, NonNegativeFloat, PositiveFloat, PositiveInt
from ptm.components.objectives.base import Metric, MicroBatch, RandomSource
from ptm.components.objectives.mlm import Mlm
from ptm.data.examples import TokenSpans
from ptm.data.placement import Placement
from ptm.nn.model_shape import ModelShape
from ptm.plan import Operation
from ptm.text.vocabulary import Vocabularies

if TYPE_CHECKING:
    from torch import Tensor

_SOFT = Metric("soft_loss", count="predicted", weight=5.0)
_COSINE = Metric("cosine_loss", count="tokens", weight=1.0)


class Ramp(Config):
    """A weight that changes linearly from `start` to `end` over `steps` updates, then stays."""

    start: NonNegativeFloat
    """Weight at the first step."""
    end: NonNegativeFloat
    """Weight from step `steps` on."""
    steps: PositiveInt
    """Number of steps over which the weight changes linearly."""

    def at(self, step: int) -> float:
        """Return the weight after `step` updates."""
        return self.start + (self.end - self.start) * min(step / self.steps, 1.0)


Weight = NonNegativeFloat | Ramp


class DistilWeights(Config):
    """Weights of the loss terms; a term of weight 0 is not computed."""

    soft: Weight = 5.0
    """Weight of the loss against the teachers' distributions."""
    mlm: Weight = 2.0
    """Weight of the masked language modelling loss."""
    cosine: Weight = 1.0
    """Weight of the cosine loss between hidden states; 0 for a teacher of another width."""

    @model_validator(mode="after")
    def _check_weights(self) -> DistilWeights:
        if self.soft == 0 and self.cosine == 0:
            raise ValueError(
                "with soft = 0 and cosine = 0 the teacher has no effect. Set one of them above 0 "
                "or set objective.type: mlm."
            )
        return self


class Distil(Mlm):
    """Masked language modelling with teachers that read the same masked text."""

    type: Literal["distil"]  # type: ignore[assignment]
    teacher: str | None = None
    """The teacher model: a run, an export or an import."""
    teachers: Annotated[tuple[str, ...], Listed] = ()
    """Several teachers: the student learns the mean of their softened distributions."""
    temperature: PositiveFloat = 2.0
    """Temperature of the softmax of student and teachers in the soft loss."""
    weights: DistilWeights = DistilWeights()

    perplexity_of: ClassVar[str | None] = "mlm_loss"
    pipeline_obstacle: ClassVar[str | None] = (
        "the outputs of a teacher have no gradient, and DeepSpeed cannot send tensors without a "
        "gradient between stages"
    )

    @model_validator(mode="after")
    def _check_teachers(self) -> Distil:
        if (self.teacher is None) == (not self.teachers):
            raise ValueError("set exactly one of teacher and teachers")
        return self

    @property
    def teacher_sources(self) -> tuple[str, ...]:
        return self.teachers if self.teacher is None else (self.teacher,)

    @property
    def has_soft_targets(self) -> bool:
        """Whether the teachers' output distributions are among the targets."""
        return self.weights.soft != 0

    @property
    def compares_hidden_states(self) -> bool:
        return self.weights.cosine != 0

    @property
    def metrics(self) -> tuple[Metric, ...]:  # type: ignore[override]
        # Terms that are not computed have no metric.
        soft = (_SOFT,) if self.has_soft_targets else ()
        cosine = (_COSINE,) if self.compares_hidden_states else ()
        return (*soft, *Mlm.metrics, *cosine)

    def loss_weights(self, step: int) -> Mapping[str, float]:
        weights = {
            "soft_loss": self.weights.soft,
            "mlm_loss": self.weights.mlm,
            "cosine_loss": self.weights.cosine,
        }
        return {
            name: weight.at(step) if isinstance(weight, Ramp) else weight
            for name, weight in weights.items()
        }

    @property
    def without_teachers(self) -> Mlm:
        """The objective `mlm` of the student, for evaluation and use without teachers."""
        return Mlm(
            type="mlm",
            concatenate=self.concatenate,
            masking=self.masking,
            head=self.head,
        )

    def collate(
        self,
        texts: TokenSpans,
        placement: Placement,
        *,
        vocabularies: Vocabularies,
        random_source: RandomSource,
    ) -> MicroBatch:
        """Return the tensors of `mlm`; the cosine loss is averaged over all real tokens."""
        batch = super().collate(
            texts, placement, vocabularies=vocabularies, random_source=random_source
        )
        if not self.compares_hidden_states:
            return batch
        return replace(batch, counts={**batch.counts, "tokens": batch.tokens})

    def operations(self, shape: ModelShape) -> tuple[Operation, ...]:
        """Return the head: hidden (B, T, D) -> logits (P, V), encoded (B, T, D).

        `encoded` is the output of the last layer, needed by the cosine loss only.
        """
        from torch import nn

        kept = Operation("encoded", nn.Identity, ("hidden",), ("encoded",))
        return (
            (kept, *super().operations(shape))
            if self.compares_hidden_states
            else super().operations(shape)
        )

    @property
    def outputs(self) -> tuple[str, ...]:
        return ("logits", "encoded") if self.compares_hidden_states else ("logits",)

    def teacher_targets(self, outputs: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Return targets (fp32) computed from each teacher's outputs for a micro-batch.

        `teacher_log_probabilities` (P, V): logarithm of the mean of the softened distributions.
        `teacher_directions` (B, T, D): mean of the hidden states, each normalised to length 1.
        """
        import torch
        from torch.nn import functional as F

        found = {}
        if self.has_soft_targets:
            softened = [
                F.log_softmax(output["logits"].float() / self.temperature, dim=-1)
                for output in outputs
            ]
            together = reduce(torch.logaddexp, softened)
            found["teacher_log_probabilities"] = together - math.log(len(softened))
        if self.compares_hidden_states:
            directions = (F.normalize(output["encoded"].float(), dim=-1) for output in outputs)
            found["teacher_directions"] = sum(directions) / torch.tensor(float(len(outputs)))
        return found

    def metric_sums(
        self, outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return the sums of T² KL(teachers ‖ student), 1 - cosine, and the MLM metrics.

        KL is summed over the predicted positions, 1 - cosine over the real tokens. The factor T²
        compensates for softened outputs scaling gradients by 1/T² (Hinton et al. 2015, section 2).
        """
        from torch.nn import functional as F

        found = super().metric_sums(outputs, tensors)
        if self.has_soft_targets:
            mine = F.log_softmax(outputs["logits"].float() / self.temperature, dim=-1)
            theirs = tensors["teacher_log_probabilities"]
            # KL as the sum of p (log p - log q) + (q - p). The added term sums to 0 over the
            # vocabulary, makes every entry small if p is near q, and cancels the rounding errors
            # of the normalisers inside the log probabilities.
            divergence = (mine.exp() - theirs.exp() * (1.0 + mine - theirs)).sum(dim=-1)
            predicted = (divergence * tensors["predicted_weights"]).sum()
            found["soft_loss"] = self.temperature**2 * predicted
        if self.compares_hidden_states:
            mine = F.normalize(outputs["encoded"].float(), dim=-1)
            cosine = (mine * tensors["teacher_directions"]).sum(dim=-1)
            found["cosine_loss"] = ((1.0 - cosine) * (tensors["example_ids"] > 0)).sum()
        return found
