"""Examples as an index over the store: which tokens each one holds, never the tokens themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64, Flags, ragged_arange, ragged_ranges
from ptm.store.format import TokenStore


@dataclass(frozen=True)
class Texts:
    """The text tokens of some examples, one after another, without what an objective puts around.

    `tokens` (N), `parts` (E, K): the tokens of each example's K texts in their order,
    `word_starts` (N) or None, `labels` (E) where examples have one.
    """

    tokens: I64
    parts: I64
    word_starts: Flags | None
    labels: I64 | None = None

    @property
    def lengths(self) -> I64:
        """Text tokens of every example (E)."""
        return np.asarray(self.parts.sum(axis=1))

    @staticmethod
    def joined(several: Sequence[Texts]) -> Texts:
        """Those of `several`, one after another; all are of one kind."""
        if len(several) == 1:
            return several[0]
        words = [texts.word_starts for texts in several if texts.word_starts is not None]
        labels = [texts.labels for texts in several if texts.labels is not None]
        return Texts(
            np.concatenate([texts.tokens for texts in several]),
            np.concatenate([texts.parts for texts in several]),
            np.concatenate(words) if words else None,
            np.concatenate(labels) if labels else None,
        )


class Examples(ABC):
    """An index of examples. Each kind is a frozen dataclass whose fields are int64 arrays."""

    if TYPE_CHECKING:
        # Some kinds compute it, others keep it in a field, which no property may stand before.
        @property
        def lengths(self) -> I64:
            """Text tokens of every example (E), those of all its texts together."""
            raise NotImplementedError

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The index from what `to_arrays` gave."""
        return cls(**arrays)

    def to_arrays(self) -> dict[str, I64]:
        """Its arrays by name, as they are kept on disk."""
        names = [one.name for one in fields(self)]  # type: ignore[arg-type]
        return {name: getattr(self, name) for name in names}

    @property
    def left_out(self) -> Mapping[str, int]:
        """What rules kept out of the examples, counted, under words for a person."""
        return {}

    @abstractmethod
    def texts(self, store: TokenStore, index: I64) -> Texts:
        """The tokens of the examples `index`."""


ExamplesType = type[Examples]
"""For classes with a field `type`, in which `type[Examples]` would mean the field."""


@dataclass(frozen=True)
class Pieces(Examples):
    """Each example is one range of tokens: a document, or a piece of a long one."""

    starts: I64
    lengths: I64

    def texts(self, store: TokenStore, index: I64) -> Texts:
        """The tokens of the examples `index`."""
        starts, lengths = np.asarray(self.starts[index]), np.asarray(self.lengths[index])
        words = store.word_starts(starts, lengths) if store.info.has_word_starts else None
        return Texts(store.tokens(starts, lengths), lengths[:, None], words)


def cut_documents(starts: I64, lengths: I64, longest: int) -> Pieces:
    """Every document, those longer than `longest` cut into pieces; nothing is dropped."""
    pieces = -(-lengths // longest)
    number = ragged_arange(pieces)
    begins = np.repeat(starts, pieces) + number * longest
    rest = np.repeat(lengths, pieces) - number * longest
    return Pieces(begins, np.minimum(rest, longest))


def _nothing() -> I64:
    return np.zeros(1, dtype=np.int64)


@dataclass(frozen=True)
class Joined(Examples):
    """Each example is `longest` tokens of all documents joined, with a separator after each.

    The text of the last example may be shorter. `ends` (D) counts the tokens, separators included,
    up to the end of each document; `starts` (D) is where the document lies in the store. The others
    are single numbers, kept as arrays so that they lie on disk beside these.
    """

    starts: I64
    ends: I64
    longest: I64
    separator: I64
    overlap: I64 = field(default_factory=_nothing)
    """Tokens at the beginning of an example that the one before has too."""
    closed: I64 = field(default_factory=_nothing)
    """1: a separator stands after the last document too."""

    @property
    def _total(self) -> int:
        return int(self.ends[-1]) - 1 + int(self.closed[0]) if self.ends.size else 0

    @property
    def _stride(self) -> int:
        return int(self.longest[0] - self.overlap[0])

    @property
    def lengths(self) -> I64:
        """Text tokens of every example."""
        overlap = int(self.overlap[0])
        count = -(-max(0, self._total - overlap) // self._stride)
        return self._lengths_of(np.arange(count, dtype=np.int64))

    def _lengths_of(self, index: I64) -> I64:
        rest = self._total - index * self._stride
        return np.asarray(np.minimum(int(self.longest[0]), rest))

    def texts(self, store: TokenStore, index: I64) -> Texts:
        """The tokens of the examples `index`."""
        lengths = self._lengths_of(index)
        stream = ragged_ranges(index * self._stride, lengths)
        document = np.searchsorted(self.ends, stream, side="right")
        is_separator = stream == self.ends[document] - 1
        begins = np.where(document > 0, self.ends[document - 1], 0)
        position = self.starts[document] + stream - begins
        one = np.ones(int((~is_separator).sum()), dtype=np.int64)
        tokens = np.full(stream.size, int(self.separator[0]), dtype=np.int64)
        tokens[~is_separator] = store.tokens(position[~is_separator], one)
        words = None
        if store.info.has_word_starts:
            words = np.ones(stream.size, dtype=bool)
            words[~is_separator] = store.word_starts(position[~is_separator], one)
        return Texts(tokens, lengths[:, None], words)


def join_documents(
    starts: I64,
    lengths: I64,
    longest: int,
    *,
    separator: int,
    overlap: int = 0,
    closed: bool = False,
) -> Joined:
    """All documents joined by `separator` and cut every `longest` tokens (RoBERTa, section 4.2).

    `overlap`: tokens that neighbouring examples share. `closed`: a separator ends the last document
    as it ends the others.
    """
    numbers = (longest, separator, overlap, int(closed))
    arrays = (np.array([number], dtype=np.int64) for number in numbers)
    return Joined(starts, np.cumsum(lengths + 1), *arrays)
