"""What all objectives that predict the next token have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from ptm.components.objectives.base import Metric, Objective
from ptm.components.objectives.next_tokens import (
    NEXT_METRICS,
    NEXT_OUTPUTS,
    NEXT_TARGETS,
    LmHead,
    next_token_steps,
    next_token_sums,
)
from ptm.nn.shape import ModelShape
from ptm.plan import Step


class NextTokenObjective(Objective):
    """Cross entropy of every target, from a vocabulary's scores that never stand whole."""

    head: LmHead = LmHead()

    metrics: ClassVar[tuple[Metric, ...]] = NEXT_METRICS
    targets: ClassVar[tuple[str, ...]] = NEXT_TARGETS

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
        """Cross entropy and hits over all targets."""
        return next_token_sums(outputs)
