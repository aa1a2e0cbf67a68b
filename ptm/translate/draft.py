"""A recipe under construction: its keys in order, and a comment for each that has an origin."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ptm.recipe import Recipe, recipe_from_data

_PLAIN = re.compile(r"[A-Za-z_./~][\w./+@-]*", re.ASCII)
_RESERVED = {"true", "false", "null", "yes", "no", "on", "off", "y", "n", "~", ".", ".nan", ".inf"}
_ORDER = (
    *("name", "runs_dir", "seed", "init_from", "tokenizer", "target_tokenizer", "data", "model"),
    *("objective", "optimizer", "schedule", "train", "engine", "checkpoint", "tracking"),
)
"""The order in which recipes have their blocks."""
_FLAT = 2
"""Blocks at least this deep are written on one line if none of their keys has a comment."""


@dataclass
class Draft:
    """A mapping of dotted keys to values, with comments; see `yaml`."""

    heading: str
    """Comment above the recipe, without `#`."""
    data: dict[str, Any] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)
    """Dotted key to the comment behind it."""
    notes: list[tuple[str, str]] = field(default_factory=list)
    """What has no counterpart: the option as written and the reason."""

    def set(self, key: str, value: Any, comment: str = "") -> None:
        """Set a dotted key, creating the blocks that it is in; None leaves it out."""
        if value is None:
            return
        *blocks, name = key.split(".")
        block = self.data
        for one in blocks:
            block = block.setdefault(one, {})
        block[name] = value
        if comment:
            self.comments[key] = comment

    def remove(self, key: str) -> None:
        """Remove a dotted key that is set, and its comment."""
        *blocks, name = key.split(".")
        block = self.data
        for one in blocks:
            block = block[one]
        del block[name]
        self.comments.pop(key, None)

    def note(self, written: str, reason: str) -> None:
        """Add an option without counterpart, once."""
        if (written, reason) not in self.notes:
            self.notes.append((written, reason))

    def validated(self) -> Recipe:
        """The recipe. Raises UserError naming the key if a value or a combination is not valid."""
        return recipe_from_data(self.data, Recipe, name="the translated recipe")

    def yaml(self) -> str:
        """The recipe as YAML, which `ptm validate` accepts."""
        heading = "".join(f"# {line}\n" for line in self.heading.splitlines())
        ordered = {key: self.data[key] for key in _ORDER if key in self.data}
        return heading + "\n".join(self._lines(ordered, (), 0)) + "\n"

    def _lines(self, block: Mapping[str, Any], path: tuple[str, ...], depth: int) -> Iterator[str]:
        for name, value in block.items():
            here = (*path, name)
            key = ".".join(here)
            indent = "  " * depth
            comment = f"  # {self.comments[key]}" if key in self.comments else ""
            if isinstance(value, dict) and value and not self._on_one_line(key, depth):
                yield f"{indent}{name}:{comment}"
                yield from self._lines(value, here, depth + 1)
            else:
                yield f"{indent}{name}: {_text(value)}{comment}"

    def _on_one_line(self, key: str, depth: int) -> bool:
        commented = any(other.startswith(f"{key}.") for other in self.comments)
        return depth >= _FLAT - 1 and not commented


def _text(value: Any) -> str:
    """A value in YAML's flow style, the same in YAML 1.1 and 1.2."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        mantissa, e, exponent = repr(value).partition("e")
        return f"{mantissa if '.' in mantissa else mantissa + '.0'}{e}{exponent}" if e else mantissa
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and value.lower() not in _RESERVED
        return value if plain else json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_text(one)}' for key, one in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_text(one) for one in value)}]"
    return str(value)
