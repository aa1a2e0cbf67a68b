"""Command lines of UER-py's documentation, and the components that their recipes need."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest

from ptm.recipe import Recipe
from ptm.recipe.keys import configs_in
from ptm.recipe.model_block import ModelBlock

_FILE = Path(__file__).parents[1] / "fixtures" / "uer_commands.json"
_NEEDED = {"elmo": "bilm", "classification": "classification"}
"""Beginning of a name to the objective that it needs."""


@dataclass(frozen=True)
class UerCommands:
    """Lines that belong together, and some values of their recipe by dotted key."""

    name: str
    lines: Sequence[str]
    expected: dict[str, Any]

    @property
    def text(self) -> str:
        """All lines as one command."""
        return " && ".join(self.lines)


def uer_commands() -> list[UerCommands]:
    """All command lines of the file."""
    return [UerCommands(**entry) for entry in json.loads(_FILE.read_text(encoding="utf-8"))]


def skip_without_component(name: str) -> None:
    """Skip a test of commands whose objective does not exist."""
    needed = next((one for begin, one in _NEEDED.items() if name.startswith(begin)), None)
    if needed is not None and needed not in types_of(Recipe, "objective"):
        pytest.skip(f"the objective {needed} does not exist yet")


def types_of(config: type[Recipe | ModelBlock], field: str) -> set[str]:
    """The types that a block of a recipe selects from."""
    kinds = [kind for kind, _ in configs_in(config.model_fields[field].annotation)]
    return {str(get_args(kind.model_fields["type"].annotation)[0]) for kind in kinds}
