"""Causal language modelling: GPT, GPT-2, LLaMA (Radford et al. 2018, section 3.1; 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from ptm.arrays import I64, exclusive_cumsum, ragged_ranges
from ptm.components.objectives.base import Drawing, MicroBatch, Prompt
from ptm.components.objectives.next_tokens import NextTokenObjective, target_tensors
from ptm.data.documents import Documents
from ptm.data.examples import Examples, ExamplesType, Joined, Texts, join_documents
from ptm.data.packing import RowSize
from ptm.data.placement import Placement, row_tensors
from ptm.data.windows import BEGINS, ENDS, Windows, document_windows
from ptm.text.vocabulary import Vocabularies, Vocabulary


class Lm(NextTokenObjective):
    """Predict every token from those before it."""

    type: Literal["lm"]
    concatenate: bool = False
    """Join all documents, each closed by the end token, and fill every row with them, instead of
    one document, or a piece of a long one, an example."""
    start: bool = True
    """Whether the start token stands before a document, so that its first token is predicted; not
    with `concatenate`, where the end token of the one before does."""

    layouts: ClassVar[tuple[str, ...]] = ("documents", "sentences")
    visibilities: ClassVar[tuple[str, ...]] = ("causal",)

    @property
    def special_roles(self) -> tuple[str, ...]:  # type: ignore[override]
        """The end token, and where it is used the start token."""
        return ("pad", "cls", "sep") if self._starts else ("pad", "sep")

    @property
    def _starts(self) -> bool:
        return self.start and not self.concatenate

    def row_lengths(self, examples: Examples) -> I64:
        """What is read: all of a window but its last token."""
        stream = examples.stream_lengths if isinstance(examples, Windows) else examples.lengths
        return np.asarray(stream)[:, None] - 1

    @property
    def index_type(self) -> ExamplesType:  # type: ignore[override]
        """One of documents that are joined, or one of each by itself."""
        return Joined if self.concatenate else Windows

    @property
    def index_key(self) -> str:
        """How documents are cut."""
        if self.concatenate:
            return "lm-joined"
        return "lm-started" if self.start else "lm"

    def index(
        self, documents: Documents, *, size: RowSize, vocabularies: Vocabularies, seed: int
    ) -> Examples:
        """Documents cut into windows that overlap by a token, or joined before they are."""
        if not self.concatenate:
            return document_windows(*documents.ranges, size.source, start_token=self.start)
        return join_documents(
            *documents.ranges,
            size.source + 1,
            separator=vocabularies.source.special_id("sep"),
            overlap=1,
            closed=True,
        )

    def collate(
        self,
        texts: Texts,
        placement: Placement,
        *,
        vocabularies: Vocabularies,
        drawing: Drawing,
    ) -> MicroBatch:
        """Every token but a window's last is read, every one but its first is a target."""
        vocabulary = vocabularies.source
        stream, lengths = streams(texts, vocabulary)
        first = exclusive_cumsum(lengths)
        read = ragged_ranges(first, lengths - 1)
        return MicroBatch(
            tensors={
                **row_tensors(stream[read], placement, pad=vocabulary.special_id("pad")),
                **target_tensors(stream[read + 1], np.ones_like(read), placement),
            },
            counts={"predicted": int(read.size)},
            rows=placement.rows,
            examples=int(placement.example.size),
            tokens=int(read.size),
        )

    def prompt(self, text: Sequence[int], vocabularies: Vocabularies) -> Prompt | None:
        """The text after what stands before one in training.

        Rows of joined documents begin anywhere; only a text from nothing begins after the end of
        another.
        """
        vocabulary = vocabularies.source
        if self._starts:
            return Prompt(begin=(vocabulary.special_id("cls"), *text))
        if self.concatenate and not text:
            return Prompt(begin=(vocabulary.special_id("sep"),))
        return Prompt(begin=tuple(text))


def streams(texts: Texts, vocabulary: Vocabulary) -> tuple[I64, I64]:
    """The texts with the start and end tokens that their labels ask for, and the length of each."""
    if texts.labels is None:
        return texts.tokens, texts.lengths
    begins, ends = (texts.labels & BEGINS) > 0, (texts.labels & ENDS) > 0
    lengths = texts.lengths + begins + ends
    first = exclusive_cumsum(lengths)
    stream = np.empty(int(lengths.sum()), dtype=np.int64)
    stream[ragged_ranges(first + begins, texts.lengths)] = texts.tokens
    if begins.any():
        stream[first[begins]] = vocabulary.special_id("cls")
    stream[(first + lengths - 1)[ends]] = vocabulary.special_id("sep")
    return stream, lengths
