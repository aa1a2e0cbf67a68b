"""Encodes many texts at once by tables of characters and runs, with the ids of a pipeline.

Tokenising Chinese with the `tokenizers` library takes 300 to 550 ns per byte, most of it the same
work for the same characters. Here every distinct character is tokenised once, as is every distinct
run of the other characters, and all else is a few operations on arrays.

This gives the pipeline's ids if what is white space or a word of its own neither depends on the
characters around it nor changes them. With `BertNormalizer` and `BertPreTokenizer` it does:
cleaning, lowercasing and the spaces around Chinese characters look at one character at a time, and
punctuation, white space and Chinese characters begin with one of combining class 0, across which
Unicode reorders no marks. The same is true of `Lowercase`, `WhitespaceSplit` and a split into
single characters. A tokenizer declares this by returning a `TableEncoder`.

Shape letters: S texts, C characters of the texts with a newline between any two, T tokens, R runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64, exclusive_cumsum, ragged_ranges
from ptm.text.tokenizers.char_table import CharTable, RunTable
from ptm.text.tokenizers.tokenizer import PipelineEncoder


@dataclass(frozen=True)
class TableEncoder(PipelineEncoder):
    """Encodes with a pipeline that treats characters independently (see the module).

    Lists of ids come from the pipeline, as for a few texts it is faster; arrays from the tables.
    """

    vocabulary_size: int

    @cached_property
    def _characters(self) -> CharTable:
        return CharTable(self.pipeline, largest_id=self.vocabulary_size - 1)

    @cached_property
    def _runs(self) -> RunTable:
        return RunTable(self.pipeline, with_starts=False)

    @cached_property
    def _runs_with_starts(self) -> RunTable:
        return RunTable(self.pipeline, with_starts=True)

    def encode_arrays(self, texts: Sequence[str]) -> tuple[NDArray[Any], I64]:
        ids, lengths, _ = self._encode(texts, with_starts=False)
        return ids, lengths

    def encode_arrays_with_starts(self, texts: Sequence[str]) -> tuple[NDArray[Any], I64, I64]:
        return self._encode(texts, with_starts=True)

    def _encode(self, texts: Sequence[str], *, with_starts: bool) -> tuple[NDArray[Any], I64, I64]:
        """Ids (T), tokens per text (S), and first characters (T; empty without `with_starts`)."""
        joined = "\n".join(texts)
        points = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
        codes = self._characters.codes(points)

        # A run begins and ends where `joins` changes (R).
        joins = codes == self._characters.joins
        edges = np.flatnonzero(np.diff(joins.view(np.int8), prepend=0, append=0))
        begins, ends = edges[::2], edges[1::2]
        runs = [joined[a:b] for a, b in zip(begins.tolist(), ends.tolist(), strict=True)]
        table = self._runs_with_starts if with_starts else self._runs
        run_ids, run_lengths, run_starts = table.tokens(runs)

        # Tokens per character: one for a word of its own; those of a run at its first character.
        own = codes < self._characters.space
        counts = own.astype(np.int32)
        counts[begins] = run_lengths
        # Number of tokens before each character (C + 1).
        before = np.zeros(points.size + 1, np.int64)
        np.cumsum(counts, out=before[1:])

        ids = np.empty(int(before[-1]), np.uint32)
        ids[before[:-1][own]] = codes[own]
        of_runs = ragged_ranges(before[begins], run_lengths)
        ids[of_runs] = run_ids

        sizes = np.fromiter(map(len, texts), np.int64, len(texts))
        first = exclusive_cumsum(sizes + 1)
        lengths = before[first + sizes] - before[first]

        starts = np.empty(0, np.int64)
        if with_starts:
            starts = np.empty(ids.size, np.int64)
            starts[before[:-1][own]] = np.flatnonzero(own)
            starts[of_runs] = np.repeat(begins, run_lengths) + run_starts
        return ids, lengths, starts
