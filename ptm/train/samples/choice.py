"""The answer to a question with several choices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from torch import Tensor

from ptm.components.objectives.base import EXAMPLE_NUMBERS
from ptm.train.samples.base import Infer, Sampler
from ptm.train.samples.record import Sample


class ChoiceSampler(Sampler):
    """Chooses an answer."""

    types: ClassVar[tuple[str, ...]] = ("choice",)

    def sample(self, infer: Infer) -> list[Sample]:
        scores = infer(self.batch, _scores)["scores"]
        right, owner = (self.batch.tensors[name] for name in ("choice_labels", EXAMPLE_NUMBERS))
        parts = self.parts()
        samples = []
        for number in self.placement.example + 1:
            mine = np.flatnonzero(owner == number)
            # The first text of a sequence is the question with a choice, the second the context.
            choices = [self.source_text(parts[at][:1]) for at in mine]
            listed = [f"({at}) {choice}" for at, choice in enumerate(choices, start=1)]
            samples.append(
                Sample(
                    text="\n".join([self.source_text(parts[mine[0]][1:]), *listed]),
                    expected=(f"({int(right[mine].argmax()) + 1})",),
                    predicted=(f"({int(scores[mine].argmax()) + 1})",),
                )
            )
        return samples


def _scores(outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {"scores": outputs["choice_logits"].squeeze(-1)}
