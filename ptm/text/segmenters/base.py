"""The base class of word segmenters."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import ClassVar

from ptm.component import Config
from ptm.files.user_files import read_text

SegmentFunction = Callable[[str], Iterable[str]]


class Segmenter(Config):
    """Config of a function that cuts a text into words; concatenated, they equal the text."""

    CUTS_AT_NEWLINES: ClassVar[bool] = False
    """Whether lines that are cut together, joined by newlines, have the words of each alone."""

    type: str
    dictionary: str | None = None
    """Path of a user dictionary: one word per line, optionally followed by frequency and tag."""

    @abstractmethod
    def load(self) -> SegmentFunction:
        """Load the function that cuts a text into words.

        Raises UserError if the dictionary cannot be read or a package is not installed.
        """

    @cached_property
    def input_files(self) -> Mapping[str, str]:
        """Paths of the files that are read when this segmenter is loaded, by field."""
        return {"dictionary": self.dictionary} if self.dictionary else {}

    def dictionary_text(self) -> str | None:
        """The dictionary. Raises UserError if the file cannot be read as UTF-8 text."""
        if self.dictionary is None:
            return None
        return read_text(self.dictionary)
