"""Where a recipe was read: its file, the file's text, and the KEY=VALUE overrides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from ptm.escaping import shown_url
from ptm.recipe.source import RecipeSource


@dataclass(frozen=True)
class RecipeOrigin:
    """The file and the overrides of a recipe; without secrets of URLs.

    Two origins always compare equal, because recipes are equal if their values are.
    """

    file: str | None = field(default=None, compare=False)
    """As it was given; None for a recipe that was not read from a file."""
    text: str = field(default="", compare=False)
    """The content of the file."""
    overrides: tuple[str, ...] = field(default=(), compare=False)
    """KEY=VALUE, in the order in which they were applied."""

    @staticmethod
    def of(file: str, text: str, overrides: tuple[str, ...]) -> RecipeOrigin:
        """The origin with secrets of URLs hidden."""
        return RecipeOrigin(file, shown_url(text), tuple(map(shown_url, overrides)))

    @property
    def family(self) -> str | None:
        """The folders below `recipes` that hold the file: `roberta`; None for a file elsewhere."""
        *folders, _ = PurePath(self.file or "").parts or ("",)
        if "recipes" not in folders:
            return None
        below = folders[len(folders) - folders[::-1].index("recipes") :]
        return "/".join(below) or None

    @property
    def overridden(self) -> tuple[str, ...]:
        """The dotted keys of the overrides, each once."""
        return tuple(dict.fromkeys(one.partition("=")[0] for one in self.overrides))

    def place_of(self, key: str) -> str:
        """`file:line: ` of the dotted `key` or its nearest parent, as the beginning of a message.

        "" if the command line set the key, or if the recipe was not read from a file.
        """
        keys = key.split(".")
        given = (one.split(".") for one in self.overridden)
        if self.file is None or any(one == keys[: len(one)] for one in given):
            return ""
        return RecipeSource.parse(self.text, self.file).where(tuple(keys))

    def values(self) -> dict[str, Any]:
        """Dotted key -> value in the file. Raises UserError if the text is no recipe."""
        return dict(leaves(RecipeSource.parse(self.text, self.file or "the recipe").data, ""))


def leaves(data: Any, at: str) -> Iterator[tuple[str, Any]]:
    """The values below `data` that are not blocks, with their dotted keys."""
    if not isinstance(data, dict):
        yield at, data
        return
    for key, value in data.items():
        yield from leaves(value, f"{at}.{key}" if at else key)
