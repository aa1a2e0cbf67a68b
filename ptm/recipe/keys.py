"""Every key that a recipe can have, read from the pydantic fields.

Used by the messages about unknown keys and by the generated reference (docs/recipe.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


def has_key(config: type[Config], data: Any, path: Sequence[str]) -> bool:
    """Whether the config can have the key at `path`, given the types that `data` chooses.

    Optional blocks of the source's counterpart (`target_tokenizer`, `target_embedding`) and
    `init_from` count only if `data` has them.
    """
    kinds: list[type[Config]] = [config]
    for index, part in enumerate(path):
        fields = [kind.model_fields[part] for kind in kinds if part in kind.model_fields]
        if not fields or index == len(path) - 1:
            return bool(fields)
        data = data.get(part) if isinstance(data, dict) else None
        if data is None and part in _ONLY_IF_GIVEN:
            return False
        kinds = [
            kind
            for field in fields
            for kind, _ in configs_in(field.annotation)
            if _fits(kind, data)
        ]
    return False


_ONLY_IF_GIVEN = ("target_tokenizer", "target_embedding", "init_from", "decoder")
_DISCRIMINATORS = ("type", "unit", "spans", "lengths")


def _fits(kind: type[Config], data: Any) -> bool:
    """Whether a block of the recipe may be of this config, judged by its discriminators."""
    for tag in _DISCRIMINATORS:
        field = kind.model_fields.get(tag)
        if field is None or get_origin(field.annotation) is not Literal:
            continue
        value = data.get(tag) if isinstance(data, dict) else None
        if value is not None and value not in get_args(field.annotation):
            return False
    return True


@cache
def recipe_keys() -> dict[str, KeyInfo]:
    """The keys of a recipe by dotted path; of several members of a union, the first one's."""
    from ptm.recipe.blocks import Recipe

    found: dict[str, KeyInfo] = {}
    for key in keys_of(Recipe):
        found.setdefault(key.dotted, key)
    return found
