"""The text that a vocabulary is made of: read in blocks, and counted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from ptm.errors import UserError
from ptm.text.corpus import CorpusFile, CorpusReader, parse_block, refuse_other_encoding

_BLOCK = 2**20
MOST_WORDS = 5_000_000
_OF_COMPRESSED = 4
"""Bytes of text that a byte of a compressed file is taken for."""


@dataclass(frozen=True)
class Reading:
    """How far the text is read."""

    bytes_read: int
    bytes_total: int
    documents: int
    seconds: float


@dataclass(frozen=True)
class TrainingText:
    """The lines of a corpus, or of blocks spread evenly over one that is larger than `limit`."""

    corpus: Sequence[CorpusFile]
    limit: int
    """About how many bytes of text are read: what bounds the memory of a training."""
    report: Callable[[Reading], None]

    @property
    def share(self) -> float:
        """How much of the corpus is read."""
        sizes = (f.bytes * (_OF_COMPRESSED if f.compressed else 1) for f in self.corpus)
        return min(1.0, self.limit / sum(sizes))

    def lines(self) -> Iterator[str]:
        """Each line that has text, in order; always the same. Raises UserError for no text."""
        begun, before, documents, total = time.monotonic(), 0, 0, sum(f.bytes for f in self.corpus)
        number, share = 0, self.share
        for index, file in enumerate(self.corpus):
            reader = CorpusReader(file, index=index, layout="documents", block_bytes=_BLOCK)
            lines = invalid = first = 0
            for block in reader.blocks():
                number += 1
                if ceil(number * share) > ceil((number - 1) * share):
                    parsed = parse_block(block.data, "documents")
                    if parsed.first_invalid is not None and not invalid:
                        first = lines + parsed.first_invalid + 1
                    lines, invalid = lines + parsed.lines, invalid + parsed.invalid
                    for document in parsed.documents:
                        documents += 1
                        yield from document
                seconds = time.monotonic() - begun
                self.report(Reading(before + block.bytes_read, total, documents, seconds))
            refuse_other_encoding(file.path, lines=lines, invalid=invalid, first=first)
            before += file.bytes
        if not documents:
            names = ", ".join(file.path for file in self.corpus)
            raise UserError(f"{names}: the corpus has no text: nothing to make a vocabulary of.")


def count(words: Iterable[Sequence[str]]) -> Counter[str]:
    """How often each word occurs; the rarest are forgotten where there are too many to hold.

    Then a word that is rarer than the words forgotten by then may be counted too low, or lack.
    """
    counts: Counter[str] = Counter()
    rarest = 1
    for some in words:
        counts.update(some)
        while len(counts) > MOST_WORDS:
            counts = Counter({word: n for word, n in counts.items() if n > rarest})
            rarest += 1
    return counts


def refuse_small(size: int, *, specials: int, alphabet: int, advice: str) -> None:
    """Raise UserError where not even the single characters have room."""
    if size < specials + alphabet:
        raise UserError(
            f"--size {size}: is too small: {specials} special tokens and {alphabet} characters "
            f"need {specials + alphabet}. {advice}"
        )
