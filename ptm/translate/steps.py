"""The result of a translation, and the paths that earlier lines of it have written."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from ptm.translate.draft import Draft

_NUMBERED = re.compile(r"-\d+$")
"""UER-py appends the step to the path of a checkpoint."""
_WEIGHTS = re.compile(r"\.(bin|pt|safetensors)$")


@dataclass
class TranslatedRecipe:
    """A recipe and the files to write for it."""

    path: str
    draft: Draft
    hostfile: str | None = None
    hostfile_text: str | None = None


@dataclass
class Translation:
    """Recipes, commands in the order of the lines, and what has no counterpart."""

    recipe_path: str
    """Path of the first recipe; later ones have a number."""
    recipes: list[TranslatedRecipe] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    run_names: set[str] = field(default_factory=set)
    models: dict[str, str] = field(default_factory=dict)
    """Path of a model file on the lines to the folder that holds it here."""
    files: dict[str, str] = field(default_factory=dict)
    """Path of another file on the lines, such as a vocabulary, to its path here."""

    def add_recipe(self, draft: Draft) -> TranslatedRecipe:
        """Append a recipe, with a path of its own."""
        recipe = TranslatedRecipe(self._numbered(self.recipe_path), draft)
        self.recipes.append(recipe)
        for written, reason in draft.notes:
            self.note(written, reason)
        return recipe

    def add_hostfile(self, recipe: TranslatedRecipe, text: str) -> None:
        """Give a recipe its hostfile, beside it."""
        recipe.hostfile = str(PurePosixPath(recipe.path).with_suffix(".hostfile"))
        recipe.hostfile_text = text

    def add_command(
        self, words: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        """Append a command; one that is already there is not repeated."""
        prefix = "".join(f"{name}={shlex.quote(one)} " for name, one in (environment or {}).items())
        command = prefix + shlex.join(words)
        if command not in self.commands:
            self.commands.append(command)

    def note(self, written: str, reason: str) -> None:
        """Add an option without counterpart, once."""
        if (written, reason) not in self.notes:
            self.notes.append((written, reason))

    def rename(self, old: str, new: str) -> bool:
        """Follow `mv` or `cp`; return whether `old` is a model that an earlier line has written."""
        found = self.model_folder(old)
        if found is not None:
            self.models[new] = found
        return found is not None

    def model_folder(self, path: str) -> str | None:
        """The folder of a model that an earlier line has written; None if none has."""
        return self.models.get(path, self.models.get(_NUMBERED.sub("", path)))

    def _numbered(self, path: str) -> str:
        if not self.recipes:
            return path
        given = PurePosixPath(path)
        return str(given.with_stem(f"{given.stem}-{len(self.recipes) + 1}"))


def folder_of(weights: str) -> str:
    """The folder here of a model whose weights are one file in other tools."""
    plain = _WEIGHTS.sub("", _NUMBERED.sub("", weights.replace("\\", "/")))
    return plain if plain != weights else f"{plain}-imported"
