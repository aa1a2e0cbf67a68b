"""What every segmenter is: a frozen config that cuts a text into words."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path

from ptm.component import Config
from ptm.errors import UserError

Cut = Callable[[str], Iterable[str]]


class Segmenter(Config):
    """Cuts a text into words that, joined, are the text again."""

    type: str
    dictionary: str | None = None
    """A user dictionary: a word a line, with frequency and tag after it if wanted."""

    @abstractmethod
    def load(self) -> Cut:
        """The function that cuts. Raises UserError where the dictionary cannot be read."""

    @cached_property
    def input_files(self) -> tuple[str, ...]:
        """Files that must be there to load this segmenter."""
        return (self.dictionary,) if self.dictionary else ()

    def checked_dictionary(self) -> str | None:
        """The dictionary's path, after making sure that it can be read as UTF-8 text."""
        if self.dictionary is None:
            return None
        try:
            Path(self.dictionary).read_text(encoding="utf-8")
        except OSError as error:
            raise UserError(f"{self.dictionary}: cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise UserError(f"{self.dictionary}: is not UTF-8 at byte {error.start}.") from error
        return self.dictionary
