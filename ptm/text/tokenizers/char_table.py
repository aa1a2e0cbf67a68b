"""What a tokenizer's pipeline makes of each character and of each run of characters, remembered.

Only for pipelines whose text before the model is a sequence of white space, characters that are
words of their own, and runs of all other characters, where the first two depend on nothing around
them (see `ptm.text.tokenizers.table_encoder`). Characters and runs are tokenised by the pipeline
itself, once each: nothing here knows Unicode.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

from ptm.arrays import I64, exclusive_cumsum, ragged_ranges

_CODE_POINTS = 0x110000
_LONGEST_RUN = 64
"""Characters of a run that is kept."""


class CharTable:
    """For each code point, the id of its token, or a code of what else it is.

    A code point is looked up in the pipeline when it is first met. `largest_id` is that of the
    vocabulary; the codes are above it.
    """

    def __init__(self, pipeline: tokenizers.Tokenizer, *, largest_id: int) -> None:
        dtype = np.uint16 if largest_id < 2**16 - 3 else np.uint32
        self._pipeline = pipeline
        self._unseen = int(np.iinfo(dtype).max)
        self.joins = self._unseen - 1
        """Code of characters that can be part of a longer word, or change one."""
        self.space = self._unseen - 2
        """Code of white space, the smallest code: what is below is an id."""
        self._codes = np.full(_CODE_POINTS, self._unseen, dtype)

    def codes(self, points: NDArray[np.uint32]) -> NDArray[Any]:
        """The code of each code point (C)."""
        found = self._codes.take(points)
        unseen = found == self._unseen
        if unseen.any():
            self._add(np.unique(points[unseen]))
            found = self._codes.take(points)
        return found

    def _add(self, points: NDArray[np.uint32]) -> None:
        """Look up distinct code `points` in the pipeline.

        A character between two letters is white space if the letters become two words and nothing
        else, and a word of its own if it becomes a third. Anything else joins a letter, disappears
        between them, or becomes several words.
        """
        # A surrogate is no character; as a part of a run it gives the pipeline's own error.
        self._codes[points] = self.joins
        valid = [point for point in points.tolist() if not 0xD800 <= point < 0xE000]
        characters = [chr(point) for point in valid]
        encoded = self._pipeline.encode_batch_fast(characters, add_special_tokens=False)
        for point, character, alone in zip(valid, characters, encoded, strict=True):
            words = self._words(f"a{character}b")
            if words == ["a", "b"]:
                self._codes[point] = self.space
            elif len(words) == 3 and (words[0], words[2]) == ("a", "b") and len(alone.ids) == 1:
                self._codes[point] = alone.ids[0]

    def _words(self, text: str) -> list[str]:
        """The words that the pipeline passes to its model."""
        if self._pipeline.normalizer is not None:
            text = self._pipeline.normalizer.normalize_str(text)
        return [word for word, _ in self._pipeline.pre_tokenizer.pre_tokenize_str(text)]


class RunTable:
    """The tokens of runs of characters, each distinct run tokenised once.

    The tokens of all kept runs are in one flat array; `_begins` and `_lengths` cut it.
    """

    def __init__(
        self, pipeline: tokenizers.Tokenizer, *, with_starts: bool, most_runs: int = 2**18
    ) -> None:
        """`with_starts`: whether to keep the index of each token's first character.

        `most_runs`: runs to keep. All are forgotten when there are more, which bounds the memory.
        """
        self._pipeline = pipeline
        self._with_starts = with_starts
        self._most_runs = most_runs
        self._clear()

    def _clear(self) -> None:
        self._index: dict[str, int] = {}
        self._ids = np.empty(0, np.uint32)
        self._starts = np.empty(0, np.int32)
        self._begins = np.empty(0, np.int64)
        self._lengths = np.empty(0, np.int64)

    def tokens(self, runs: Sequence[str]) -> tuple[NDArray[np.uint32], I64, NDArray[np.int32]]:
        """Ids of all runs (T), their number per run (R), and their first characters (T).

        First characters are counted from the start of the run; empty without `with_starts`.
        """
        if self._lengths.size > self._most_runs:
            self._clear()
        rows = list(map(self._index.get, runs))
        if None in rows:
            # A dict keeps the order of the runs and drops repetitions.
            new = list(dict.fromkeys(r for r, row in zip(runs, rows, strict=True) if row is None))
            self._add(new)
            rows = list(map(self._index.get, runs))
            for run in new:
                if len(run) > _LONGEST_RUN:
                    del self._index[run]
        chosen = np.array(rows, dtype=np.int64)
        lengths = self._lengths[chosen]
        places = ragged_ranges(self._begins[chosen], lengths)
        starts = self._starts[places] if self._with_starts else self._starts
        return self._ids[places], lengths, starts

    def _add(self, runs: Sequence[str]) -> None:
        """Tokenise distinct new `runs` and append their tokens."""
        pipeline = self._pipeline
        encode = pipeline.encode_batch if self._with_starts else pipeline.encode_batch_fast
        encoded = encode(runs, add_special_tokens=False)
        ids = np.array([index for one in encoded for index in one.ids], dtype=np.uint32)
        lengths = np.array([len(one.ids) for one in encoded], dtype=np.int64)
        self._index.update(zip(runs, itertools.count(self._lengths.size), strict=False))
        begins = self._ids.size + exclusive_cumsum(lengths)
        self._begins = np.concatenate([self._begins, begins])
        self._lengths = np.concatenate([self._lengths, lengths])
        self._ids = np.concatenate([self._ids, ids])
        if self._with_starts:
            starts = [begin for one in encoded for begin, _ in one.offsets]
            self._starts = np.concatenate([self._starts, np.array(starts, dtype=np.int32)])
