"""A corpus that no store can be made of: not UTF-8, or without text."""

from __future__ import annotations

from collections.abc import Sequence

from ptm.errors import UserError
from ptm.store.encode import Counts
from ptm.text.corpus import CorpusFile, refuse_other_encoding


def refuse_useless(
    corpus: Sequence[CorpusFile], counts: Sequence[Counts], *, tokens: int, pairs: bool
) -> None:
    """Raise UserError for files with too many undecodable lines, and for a corpus without text."""
    for index, file in enumerate(corpus):
        of_file = [c for c in counts if c.file == index]
        lines, invalid = sum(c.lines for c in of_file), sum(c.invalid for c in of_file)
        before, first = 0, 0
        for c in of_file:
            if c.first_invalid is not None:
                first = before + c.first_invalid + 1
                break
            before += c.lines
        refuse_other_encoding(file.path, lines=lines, invalid=invalid, first=first)
    if tokens == 0:
        paths = ", ".join(file.path for file in corpus)
        empty = sum(c.empty_documents for c in counts)
        if pairs and empty:
            raise UserError(f"{paths}: of none of its {empty:,} pairs both sides have text.")
        raise UserError(f"{paths}: the corpus holds no text, only blank lines.")
