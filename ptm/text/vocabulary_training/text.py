"""Reading the training text of a vocabulary in blocks, and counting its words."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from ptm.errors import UserError
from ptm.text.corpus import CorpusFile, CorpusReader, check_invalid
from ptm.text.corpus.checks import InvalidLines
from ptm.text.corpus.parse import parse

_BLOCK = 2**20
MOST_WORDS = 5_000_000
_TEXT_PER_COMPRESSED_BYTE = 4
"""Estimated bytes of text per byte of a compressed file."""


@dataclass(frozen=True)
class ReadProgress:
    """Progress of reading the text: bytes and documents so far, and seconds since the start."""

    bytes_read: int
    bytes_total: int
    documents: int
    seconds: float


@dataclass(frozen=True)
class TrainingText:
    """The lines of a corpus; of a corpus larger than `limit`, the lines of evenly spread blocks."""

    corpus: Sequence[CorpusFile]
    limit: int
    """About how many bytes of text are read; bounds the memory of a training."""
    report: Callable[[ReadProgress], None]

    @property
    def share(self) -> float:
        """The fraction of the corpus that is read, in (0, 1]."""
        sizes = (f.bytes * (_TEXT_PER_COMPRESSED_BYTE if f.compressed else 1) for f in self.corpus)
        return min(1.0, self.limit / sum(sizes))

    def lines(self) -> Iterator[str]:
        """Yield every line that is not blank, in order; each call yields the same lines.

        Raises UserError if a file is in another encoding or the corpus has no text.
        """
        started, before, documents, total = (
            time.monotonic(),
            0,
            0,
            sum(f.bytes for f in self.corpus),
        )
        number, share = 0, self.share
        for index, file in enumerate(self.corpus):
            reader = CorpusReader(file, index=index, layout="documents", block_bytes=_BLOCK)
            lines = invalid = first = 0
            problem = ""
            for block in reader.blocks():
                number += 1
                # True for a fraction `share` of all blocks, at even distances.
                if ceil(number * share) > ceil((number - 1) * share):
                    parsed = parse(block, "documents", None)
                    if parsed.first_invalid is not None and not invalid:
                        first, problem = block.first_line + parsed.first_invalid, parsed.problem
                    lines, invalid = lines + parsed.lines, invalid + parsed.invalid
                    for document in parsed.documents:
                        documents += 1
                        yield from document
                seconds = time.monotonic() - started
                self.report(ReadProgress(before + block.bytes_read, total, documents, seconds))
            check_invalid(file, InvalidLines(lines, invalid, first, problem))
            before += file.bytes
        if not documents:
            names = ", ".join(file.path for file in self.corpus)
            raise UserError(f"{names}: the corpus has no text to train a vocabulary on.")


def count(words: Iterable[Sequence[str]]) -> Counter[str]:
    """Count the occurrences of each word, in bounded memory.

    Whenever there are more than MOST_WORDS different words, the rarest are dropped. A word that is
    rarer than those may then have too low a count or be missing.
    """
    counts: Counter[str] = Counter()
    rarest = 1
    for some in words:
        counts.update(some)
        while len(counts) > MOST_WORDS:
            counts = Counter({word: n for word, n in counts.items() if n > rarest})
            rarest += 1
    return counts


def check_size(size: int, *, specials: int, alphabet: int, advice: str) -> None:
    """Raise UserError if `size` is too small for the special tokens and the single characters."""
    if size < specials + alphabet:
        raise UserError(
            f"--size {size} is too small: {specials} special tokens and {alphabet} characters "
            f"need {specials + alphabet}. {advice}"
        )
