"""Every key that a recipe can have, read from the pydantic fields.

Used by the messages about unknown keys and by the generated reference (docs/recipe.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from ptm.component import Config


@dataclass(frozen=True)
class KeyInfo:
    """One key: its dotted path, the config that declares it, and pydantic's description of it."""

    path: tuple[str, ...]
    config: type[Config]
    field: FieldInfo

    @property
    def dotted(self) -> str:
        """The path as it is written in messages and overrides."""
        return ".".join(self.path)


def keys_of(config: type[Config], path: tuple[str, ...] = ()) -> Iterator[KeyInfo]:
    """The keys of `config` at any depth, in the order of their declaration.

    A key of several members of a union occurs once per member. Keys that the user chooses (the
    names of evaluation sets) are written as `NAME`.
    """
    for name, field in config.model_fields.items():
        here = (*path, name)
        yield KeyInfo(here, config, field)
        for inner, is_mapping in configs_in(field.annotation):
            yield from keys_of(inner, (*here, "NAME") if is_mapping else here)


def configs_in(annotation: Any, *, in_mapping: bool = False) -> Iterator[tuple[type[Config], bool]]:
    """The configs that a field may hold, and whether they are the values of a mapping."""
    if isinstance(annotation, type) and issubclass(annotation, Config):
        yield annotation, in_mapping
        return
    is_mapping = in_mapping or get_origin(annotation) is dict
    for argument in get_args(annotation):
        yield from configs_in(argument, in_mapping=is_mapping)


def choices_of(annotation: Any) -> Iterator[str]:
    """The words that a field accepts, those of its literals."""
    if get_origin(annotation) is Literal:
        yield from (str(choice) for choice in get_args(annotation))
        return
    for argument in get_args(annotation):
        if not (isinstance(argument, type) and issubclass(argument, Config)):
            yield from choices_of(argument)


@cache
def recipe_keys() -> dict[str, KeyInfo]:
    """The keys of a recipe by dotted path; of several members of a union, the first one's."""
    from ptm.recipe.blocks import Recipe

    found: dict[str, KeyInfo] = {}
    for key in keys_of(Recipe):
        found.setdefault(key.dotted, key)
    return found
