"""The answer to a question in its context."""

from __future__ import annotations

from typing import ClassVar

from ptm.components.objectives.extraction import Extraction
from ptm.data.question_windows import UNKNOWN
from ptm.train.samples.base import Infer, Sampler, shortened
from ptm.train.samples.record import Sample

_NO_ANSWER = "no answer"


class ExtractionSampler(Sampler):
    """Extracts an answer from a window of the context."""

    types: ClassVar[tuple[str, ...]] = ("extraction",)

    def sample(self, infer: Infer) -> list[Sample]:
        objective = self.rows.objective
        assert isinstance(objective, Extraction), "the objective of this sampler"
        found = infer(self.batch, objective.predictions)
        tensors = self.batch.tensors
        samples = []
        for row, parts in enumerate(self.parts()):
            begin, end = (int(tensors[f"{name}_positions"][row]) for name in ("start", "end"))
            context = int(tensors["context_positions"][row])
            first, last = (int(found[name][row, 0]) + context for name in ("first", "last"))
            difference = float(found["null"][row] - found["score"][row, 0])
            silent = objective.no_answer and difference > objective.no_answer_threshold
            samples.append(
                Sample(
                    text=self.source_text(parts),
                    expected=(self._span(row, begin, end),),
                    predicted=(_NO_ANSWER if silent else self._span(row, first, last),),
                )
            )
        return samples

    def _span(self, row: int, first: int, last: int) -> str:
        """The text of the tokens from position `first` to `last` of an example."""
        if first == UNKNOWN:
            return "unknown"
        if first == 0:
            return _NO_ANSWER
        return shortened(self.tokenizers.source, self.token_ids(row)[first : last + 1])
