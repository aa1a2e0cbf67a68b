"""rjieba: jieba's algorithm and dictionary in Rust, about twenty times as fast."""

from __future__ import annotations

import re
from typing import ClassVar, Literal, cast

from ptm.errors import UserError
from ptm.text.segmenters.base import Segmenter, SegmentFunction

_ENTRY = re.compile(r"(.+?)(?: ([0-9]+))?(?: ([a-z]+))?")
"""A line of a user dictionary, as jieba reads it: word, frequency, tag."""
_LARGEST_FREQUENCY = 2**32


class RJieba(Segmenter):
    """rjieba; differs from jieba inside Latin strings such as `book.example.com`.

    With a user dictionary it may also differ where two segmentations are equally likely.
    """

    CUTS_AT_NEWLINES: ClassVar[bool] = True

    type: Literal["rjieba"]

    def load(self) -> SegmentFunction:
        try:
            import rjieba
        except ImportError as error:
            raise UserError(
                "data.segmenter.type: rjieba needs the package rjieba. Install it with `pip "
                "install rjieba`, or set data.segmenter.type: jieba."
            ) from error
        dictionary = self.dictionary_text()
        if dictionary is None:
            return cast(SegmentFunction, rjieba.cut)
        # A separate tokenizer: the module's global one would keep the user dictionary.
        tokenizer = rjieba.Jieba()
        for number, line in enumerate(dictionary.split("\n"), start=1):
            entry = _ENTRY.fullmatch(line.strip())
            if entry is None:
                # A blank line: every other one is at least a word.
                continue
            word, frequency, tag = entry.groups()
            if frequency is not None and int(frequency) > _LARGEST_FREQUENCY:
                raise UserError(
                    f"{self.dictionary}:{number}: the frequency {frequency} is too large. The "
                    f"largest is {_LARGEST_FREQUENCY}."
                )
            tokenizer.add_word(word, int(frequency) if frequency else None, tag)
        return cast(SegmentFunction, tokenizer.cut)
