"""The class of a text, or its classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ptm.train.samples.base import Infer, Sampler
from ptm.train.samples.record import Sample


class ClassSampler(Sampler):
    """Classification with one label per text, or with any number of them."""

    types: ClassVar[tuple[str, ...]] = ("classification", "multi_label_classification")

    def sample(self, infer: Infer) -> list[Sample]:
        found = infer(self.batch, self.rows.objective.predictions)
        labels = self.rows.objective.label_set
        assert labels is not None, "a classifier has labels"
        return [
            Sample(
                text=self.source_text(parts),
                expected=(_names(labels.names, found["label"][row]),),
                predicted=(_names(labels.names, found["predicted"][row]),),
            )
            for row, parts in enumerate(self.parts())
        ]


def _names(names: Sequence[str], value: NDArray[Any]) -> str:
    """The name of a class index, or those of flags (C)."""
    if not value.ndim:
        return names[int(value)]
    return ", ".join(names[at] for at in np.flatnonzero(value).tolist()) or "no label"
