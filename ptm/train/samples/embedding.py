"""How similar the texts of an example are: the cosine of their embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ptm.arrays import exclusive_cumsum
from ptm.components.objectives import Objective
from ptm.components.objectives.embedded_texts import LABELS, EmbeddedTexts
from ptm.text.labels import numbers_of
from ptm.train.samples.base import Infer, Sampler
from ptm.train.samples.record import Sample


class EmbeddingSampler(Sampler):
    """Compares the first text of an example with each of its others."""

    types: ClassVar[tuple[str, ...]] = ("embedding",)

    @classmethod
    def supports(cls, objective: Objective) -> bool:
        # SimCSE compares a text with itself, whose cosine is 1 without dropout.
        return not (isinstance(objective, EmbeddedTexts) and objective.loss == "simcse")

    def sample(self, infer: Infer) -> list[Sample]:
        (output,) = self.rows.objective.outputs

        def kept(outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {"values": outputs[output].float()}

        values = infer(self.batch, kept)["values"]
        counts = np.count_nonzero(self.texts.part_lengths, axis=1)
        first = exclusive_cumsum(counts)
        objective = self.rows.objective
        assert isinstance(objective, EmbeddedTexts), "the objective of this sampler"
        samples = []
        for row, parts in enumerate(self.parts()):
            begin, end = int(first[row]), int(first[row] + counts[row])
            if objective.loss == "softmax":
                assert objective.label_set is not None, "softmax has labels"
                names = objective.label_set.names
                predicted = names[int(values[begin // 2].argmax())]
                expected = names[int(self.batch.tensors[LABELS][begin])]
            else:
                predicted = _cosines(values[begin:end])
                expected = self._expected(objective, begin, counts[row])
            samples.append(
                Sample(text=self.source_text(parts), expected=(expected,), predicted=(predicted,))
            )
        return samples

    def _expected(self, objective: EmbeddedTexts, begin: int, texts: int) -> str:
        if objective.loss == "cosine_similarity":
            label = numbers_of(self.batch.tensors[LABELS][begin : begin + 1])[0]
            return f"score {label:.4g}"
        return "cosine near 1" if texts == 2 else "the first cosine is the highest"


def _cosines(vectors: NDArray[Any]) -> str:
    """The cosine of the first vector with each of the others: (K, D) -> text."""
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(min=1e-12)
    return "cosine " + ", ".join(f"{value:.3f}" for value in units[1:] @ units[0])
