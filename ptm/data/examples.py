"""Indexes of examples: the ranges of each example in the token store, never the tokens themselves.

Shapes: N tokens, E examples, K parts per example, D documents.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64, Flags, ragged_arange, ragged_ranges
from ptm.store.reader import TokenStore


@dataclass(frozen=True)
class TokenSpans:
    """The token ids of some examples, one after another, without special tokens.

    `tokens` (N): token ids. `part_lengths` (E, K): length of each part of an example (a half, a
    sentence, the whole text), 0 if it has fewer than K. `word_starts` (N): flags, or None if the
    store has none. `labels` (E): one per example, or None; (E, C) if each
    of C classes is a label or not. `tags` (N): the class index + 1 at the
    first token of each tagged word, 0 at others; None without tags.
    """

    tokens: I64
    part_lengths: I64
    word_starts: Flags | None
    labels: I64 | None = None
    tags: I64 | None = None

    @property
    def lengths(self) -> I64:
        """Tokens per example (E)."""
        return np.asarray(self.part_lengths.sum(axis=1))

    @staticmethod
    def joined(several: Sequence[TokenSpans]) -> TokenSpans:
        """Concatenate token spans of one kind: all with labels (or tags), or none.

        K becomes the largest K. Word starts are kept if all of them have them.
        """
        if len(several) == 1:
            return several[0]
        words = [texts.word_starts for texts in several if texts.word_starts is not None]
        labels = [texts.labels for texts in several if texts.labels is not None]
        tags = [texts.tags for texts in several if texts.tags is not None]
        parts = max(texts.part_lengths.shape[1] for texts in several)
        return TokenSpans(
            np.concatenate([texts.tokens for texts in several]),
            np.concatenate([_with_parts(texts.part_lengths, parts) for texts in several]),
            np.concatenate(words) if len(words) == len(several) else None,
            np.concatenate(labels) if labels else None,
            np.concatenate(tags) if tags else None,
        )


def _with_parts(part_lengths: I64, parts: int) -> I64:
    """Return `part_lengths` (E, K) with as many columns as `parts`, the further ones 0."""
    return np.pad(part_lengths, ((0, 0), (0, parts - part_lengths.shape[1])))


class Examples(ABC):
    """An index of examples. Each subclass is a frozen dataclass whose fields are int64 arrays."""

    if TYPE_CHECKING:
        # Declared for the type checker only: in subclasses it is a property or a dataclass field,
        # and a field cannot override a property.
        @property
        def lengths(self) -> I64:
            """Text tokens per example (E), all its parts together, without special tokens."""
            raise NotImplementedError

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Rebuild the index from the arrays of `to_arrays`."""
        return cls(**arrays)

    def to_arrays(self) -> dict[str, I64]:
        """Return the arrays of the index by field name, as stored on disk."""
        names = [one.name for one in fields(self)]  # type: ignore[arg-type]
        return {name: getattr(self, name) for name in names}

    @property
    def left_out(self) -> Mapping[str, int]:
        """Counts of what the examples leave out: description for the user -> count, if not
        0."""
        return {}

    @abstractmethod
    def texts(self, store: TokenStore, index: I64) -> TokenSpans:
        """Read the tokens of the examples `index` from the store."""


ExamplesType = type[Examples]
"""Alias for classes with a field named `type`, which would shadow the builtin in annotations."""


@dataclass(frozen=True)
class DocumentChunks(Examples):
    """Each example is one range of tokens: a document, or a chunk of a long one."""

    starts: I64
    lengths: I64

    def texts(self, store: TokenStore, index: I64) -> TokenSpans:
        starts, lengths = np.asarray(self.starts[index]), np.asarray(self.lengths[index])
        words = store.word_starts(starts, lengths) if store.info.has_word_starts else None
        return TokenSpans(store.tokens(starts, lengths), lengths[:, None], words)


def chunk_documents(starts: I64, lengths: I64, longest: int) -> DocumentChunks:
    """Return examples of at most `longest` tokens, none across a document boundary.

    `starts` and `lengths`: the token range of each document. A longer document is split into
    several examples; an empty one gives none.
    """
    pieces = -(-lengths // longest)
    number = ragged_arange(pieces)
    begins = np.repeat(starts, pieces) + number * longest
    rest = np.repeat(lengths, pieces) - number * longest
    return DocumentChunks(begins, np.minimum(rest, longest))


def _nothing() -> I64:
    return np.zeros(1, dtype=np.int64)


@dataclass(frozen=True)
class ConcatenatedDocuments(Examples):
    """Each example is `longest` tokens of the stream of all documents, a separator after each.

    The last example may be shorter. `starts` (D): start of each document in the store. `ends` (D):
    end of each document in the stream, after its separator. The other fields are single numbers,
    stored as arrays of one element so that they are saved with these.
    """

    starts: I64
    ends: I64
    longest: I64
    separator: I64
    overlap: I64 = field(default_factory=_nothing)
    """Tokens that an example shares with the end of the previous one."""
    closed: I64 = field(default_factory=_nothing)
    """1 if the last document is followed by a separator too, else 0."""

    @property
    def _total(self) -> int:
        return int(self.ends[-1]) - 1 + int(self.closed[0]) if self.ends.size else 0

    @property
    def _stride(self) -> int:
        return int(self.longest[0] - self.overlap[0])

    @property
    def lengths(self) -> I64:
        overlap = int(self.overlap[0])
        count = -(-max(0, self._total - overlap) // self._stride)
        return self._lengths_of(np.arange(count, dtype=np.int64))

    def _lengths_of(self, index: I64) -> I64:
        rest = self._total - index * self._stride
        return np.asarray(np.minimum(int(self.longest[0]), rest))

    def texts(self, store: TokenStore, index: I64) -> TokenSpans:
        lengths = self._lengths_of(index)
        # For each of N tokens: position in the stream, document, position in the store.
        stream = ragged_ranges(index * self._stride, lengths)
        document = np.searchsorted(self.ends, stream, side="right")
        is_separator = stream == self.ends[document] - 1
        begins = np.where(document > 0, self.ends[document - 1], 0)
        position = self.starts[document] + stream - begins
        # Read as ranges of one token, since examples cross documents.
        one = np.ones(int((~is_separator).sum()), dtype=np.int64)
        tokens = np.full(stream.size, int(self.separator[0]), dtype=np.int64)
        tokens[~is_separator] = store.tokens(position[~is_separator], one)
        words = None
        if store.info.has_word_starts:
            words = np.ones(stream.size, dtype=bool)
            words[~is_separator] = store.word_starts(position[~is_separator], one)
        return TokenSpans(tokens, lengths[:, None], words)


def concatenate_documents(
    starts: I64,
    lengths: I64,
    longest: int,
    *,
    separator: int,
    overlap: int = 0,
    closed: bool = False,
) -> ConcatenatedDocuments:
    """Concatenate all documents and split the stream every `longest` tokens.

    See Liu et al. 2019 (RoBERTa), section 4.2. `separator`: token id between documents. `overlap`:
    tokens that neighbouring examples share. `closed`: add a separator after the last document too.
    """
    numbers = (longest, separator, overlap, int(closed))
    arrays = (np.array([number], dtype=np.int64) for number in numbers)
    return ConcatenatedDocuments(starts, np.cumsum(lengths + 1), *arrays)
