"""The tags of words: those that are not outside of entities, each with its word."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ptm.train.samples.base import TOKENS_SHOWN, Infer, Sampler
from ptm.train.samples.record import Sample

_OUTSIDE = "O"


class TaggingSampler(Sampler):
    """Tags the words of a sentence."""

    types: ClassVar[tuple[str, ...]] = ("tagging",)

    def sample(self, infer: Infer) -> list[Sample]:
        found = infer(self.batch, self.rows.objective.predictions)
        shape = self.batch.tensors["input_ids"].shape
        # A pipeline adds rows of padding.
        true, predicted = (
            found[name].reshape(-1, shape[1])[: shape[0]] for name in ("tag", "predicted")
        )
        return [
            Sample(
                text=self.source_text(parts),
                expected=(self._tagged(row, true),),
                predicted=(self._tagged(row, predicted),),
            )
            for row, parts in enumerate(self.parts())
        ]

    def _tagged(self, row: int, tags: NDArray[np.int64]) -> str:
        """The words of an example with a tag other than O, such as `New B-LOC, York I-LOC`."""
        ids = self.token_ids(row)
        labels = self.rows.objective.label_set
        assert labels is not None, "a tagger has tags"
        starts = np.flatnonzero(self.batch.tensors["word_numbers"][row]).tolist()
        # [SEP] follows the last word; the text is shown after [CLS].
        ends = [*starts[1:], len(ids) - 1]
        words = [
            f"{self.tokenizers.source.decode(ids[begin:end])} {labels.names[int(tags[row, begin])]}"
            for begin, end in zip(starts, ends, strict=True)
            if begin <= TOKENS_SHOWN and labels.names[int(tags[row, begin])] != _OUTSIDE
        ]
        return ", ".join(words) or "no entity"
