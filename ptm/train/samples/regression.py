"""The number of a text, or of a pair of texts."""

from __future__ import annotations

from typing import ClassVar

from ptm.text.labels import numbers_of
from ptm.train.samples.base import Infer, Sampler
from ptm.train.samples.record import Sample


class RegressionSampler(Sampler):
    """Predicts a number."""

    types: ClassVar[tuple[str, ...]] = ("regression",)

    def sample(self, infer: Infer) -> list[Sample]:
        found = infer(self.batch, self.rows.objective.predictions)
        labels = numbers_of(found["label"])
        return [
            Sample(
                text=self.source_text(parts),
                expected=(f"{labels[row]:.4g}",),
                predicted=(f"{found['predicted'][row]:.4g}",),
            )
            for row, parts in enumerate(self.parts())
        ]
