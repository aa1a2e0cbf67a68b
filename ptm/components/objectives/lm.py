"""Causal language modelling: GPT, GPT-2, LLaMA (Radford et al. 2018, section 3.1; 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from ptm.arrays import I64, exclusive_cumsum, ragged_ranges
from ptm.components.objectives.base import MicroBatch, Prompt, RandomSource
from ptm.components.objectives.next_tokens import (
    NextTokenObjective,
    target_tensors,
    with_boundary_tokens,
)
from ptm.data.documents import Documents
from ptm.data.examples import (
    ConcatenatedDocuments,
    Examples,
    ExamplesType,
    TokenSpans,
    concatenate_documents,
)
from ptm.data.packing import RowSize
from ptm.data.placement import Placement, row_tensors
from ptm.data.windows import Windows, document_windows
from ptm.text.vocabulary import Vocabularies


class Lm(NextTokenObjective):
    """Predict every token from those before it."""

    type: Literal["lm"]
    concatenate: bool = False
    """Concatenate all documents, each followed by the end token, and fill every row, instead of one
    document, or one chunk of a long document, per example."""
    add_bos: bool = True
    """Put the start token before every document, so that its first token is predicted. Unused with
    `concatenate`, where the end token of the previous document has this role."""

    layouts: ClassVar[tuple[str, ...]] = ("documents", "sentences")
    visibilities: ClassVar[tuple[str, ...]] = ("causal",)

    @property
    def special_roles(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("pad", "bos", "eos") if self._uses_start_token else ("pad", "eos")

    @property
    def boundary_roles(self) -> tuple[str | None, str | None]:  # type: ignore[override]
        # The end token is only a target.
        return ("bos" if self._uses_start_token else None, None)

    @property
    def _uses_start_token(self) -> bool:
        return self.add_bos and not self.concatenate

    def row_lengths(self, examples: Examples) -> I64:
        # A window's last token is only a target.
        stream = examples.stream_lengths if isinstance(examples, Windows) else examples.lengths
        return np.asarray(stream)[:, None] - 1

    @property
    def index_type(self) -> ExamplesType:  # type: ignore[override]
        return ConcatenatedDocuments if self.concatenate else Windows

    @property
    def index_key(self) -> str:
        if self.concatenate:
            return "lm-joined"
        return "lm-started" if self.add_bos else "lm"

    def index(
        self, documents: Documents, *, size: RowSize, vocabularies: Vocabularies, seed: int
    ) -> Examples:
        """Return documents, each alone or all concatenated, cut into windows of length + 1 tokens.

        Neighbouring windows overlap by one token.
        """
        if not self.concatenate:
            return document_windows(*documents.ranges, size.source, start_token=self.add_bos)
        return concatenate_documents(
            *documents.ranges,
            size.source + 1,
            separator=vocabularies.source.special_id("eos"),
            overlap=1,
            closed=True,
        )

    def collate(
        self,
        texts: TokenSpans,
        placement: Placement,
        *,
        vocabularies: Vocabularies,
        random_source: RandomSource,
    ) -> MicroBatch:
        """Return the tensors: inputs are the windows without the last token, targets one later."""
        vocabulary = vocabularies.source
        stream, lengths = with_boundary_tokens(texts, vocabulary)
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
        """Return the text, after the start token if documents have one in training.

        Rows of concatenated documents begin anywhere in a document, so only an empty text gets the
        end token of a previous document.
        """
        vocabulary = vocabularies.source
        if self._uses_start_token:
            return Prompt(begin=(vocabulary.special_id("bos"), *text))
        if self.concatenate and not text:
            return Prompt(begin=(vocabulary.special_id("eos"),))
        return Prompt(begin=tuple(text))
