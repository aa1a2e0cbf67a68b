"""From a recipe's data to a recipe, with errors that name file, line and the nearest valid key."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, TypeGuard, TypeVar

import yaml
from pydantic import ValidationError

from ptm.component import Config
from ptm.errors import UserError, nearest
from ptm.recipe.blocks import Recipe
from ptm.recipe.model_recipe import ModelRecipe
from ptm.recipe.rules import problems
from ptm.recipe.source import Key, Source, is_text

C = TypeVar("C", bound=Config)


def load_recipe(path: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read, override, validate. Raises UserError with a line for each mistake."""
    source = Source.read(path)
    for argument in overrides:
        source.override(argument)
    return _validated(source, Recipe)


def recipe_from_data(
    data: Mapping[str, Any], kind: type[C], *, name: str, overrides: Sequence[str] = ()
) -> C:
    """A recipe from data that a program wrote; `name` says where they come from.

    Of `data`, blocks that `kind` does not have and a whole recipe has are left out; not of
    `overrides`. Raises UserError.
    """
    source = Source(_only_known(deepcopy(dict(data)), kind, whole=Recipe), name, {})
    for argument in overrides:
        source.override(argument)
    return _validated(source, kind)


def _only_known(data: dict[str, Any], kind: type[Config], *, whole: type[Config]) -> dict[str, Any]:
    """Without the keys that `whole` has and `kind` has not, at any depth."""
    found = {}
    for key, value in data.items():
        if key in whole.model_fields and key not in kind.model_fields:
            continue
        here, there = (one.model_fields.get(key) for one in (kind, whole))
        inner, outer = (field.annotation if field else None for field in (here, there))
        if isinstance(value, dict) and _is_config(inner) and _is_config(outer):
            value = _only_known(value, inner, whole=outer)
        found[key] = value
    return found


def _is_config(annotation: Any) -> TypeGuard[type[Config]]:
    return isinstance(annotation, type) and issubclass(annotation, Config)


def _validated(source: Source, kind: type[C]) -> C:
    try:
        recipe = kind.model_validate(source.data)
    except ValidationError as error:
        sentences = [_sentence(dict(item), source) for item in error.errors()]
        raise UserError("\n".join(dict.fromkeys(sentences))) from error
    found = [
        f"{source.where(tuple(p.path.split('.')))}{p.path}: {p.sentence}" for p in problems(recipe)
    ]
    if found:
        raise UserError("\n".join(found))
    return recipe


def _sentence(error: dict[str, Any], source: Source) -> str:
    """One pydantic error as `file:line: dotted.path: what was wrong`."""
    key = _written_path(error["loc"], source.data)
    context = error.get("ctx", {})
    kind = error["type"]
    if kind == "unknown_key":
        key = (*key, context["key"])
        what = f"unknown key.{context['hint']}"
    elif kind == "union_tag_invalid":
        key = (*key, context["discriminator"].strip("'"))
        known = [tag.strip(" '") for tag in context["expected_tags"].split(",")]
        what = f'"{context["tag"]}" is not known here.{nearest(context["tag"], known)}'
    elif kind == "union_tag_not_found":
        name = context["discriminator"].strip("'")
        what = f"needs a `{name}`."
    elif kind == "missing":
        what = "is required and not given."
    elif kind in ("model_type", "model_attributes_type"):
        what = f"{_shown(error['input'])} stands where a block of keys belongs."
    elif kind == "literal_error":
        known = [choice.strip(" '") for choice in re.split(r",| or ", context["expected"])]
        what = f"{_shown(error['input'])} is not known here.{nearest(str(error['input']), known)}"
    else:
        message = error["msg"].removeprefix("Value error, ")
        given = "" if kind == "value_error" else f"{_shown(error['input'])}: "
        what = f"{given}{message[0].lower()}{message[1:]}".rstrip(".") + "."
    dotted = ".".join(str(part) for part in key) or "the recipe"
    return f"{source.where(key)}{dotted}: {what}"


def _written_path(location: Sequence[str | int], data: Any) -> Key:
    """pydantic's location without the union tags and type names that nobody wrote."""
    path: list[str | int] = []
    here = data
    for index, part in enumerate(location):
        inside = _inside(here, part)
        if inside is not _NOT_THERE:
            here = inside
        elif isinstance(here, dict) and index == len(location) - 1 and not _is_tag(part, here):
            path.append(part)
            break
        else:
            continue
        path.append(part)
    return tuple(path)


_NOT_THERE = object()
_TAGS = ("type", "unit", "spans", "lengths")
"""Keys that say which of several configs a block is."""


def _inside(data: Any, part: str | int) -> Any:
    """What `data` holds under a key or an index."""
    if isinstance(data, dict):
        return data.get(part, _NOT_THERE)
    if isinstance(data, list) and isinstance(part, int) and part < len(data):
        return data[part]
    return _NOT_THERE


def _is_tag(part: str | int, block: Mapping[str, Any]) -> bool:
    return part in (block.get(tag) for tag in _TAGS)


def _shown(value: Any) -> str:
    text = repr(value) if not isinstance(value, str) else f'"{value}"'
    return text if len(text) <= 60 else f"{text[:57]}..."


_BLOCKS = (
    *("name", "runs_dir", "seed", "init_from", "tokenizer", "target_tokenizer", "data", "model"),
    *("objective", "optimizer", "schedule", "train", "engine", "checkpoint", "tracking"),
)
"""In the order of a person's recipe."""


def recipe_yaml(recipe: ModelRecipe) -> str:
    """The recipe with every default, as YAML in the order of the blocks."""
    data = recipe.model_dump(mode="json")
    ordered = {key: data[key] for key in sorted(data, key=_BLOCKS.index)}
    return yaml.dump(ordered, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


class _Dumper(yaml.SafeDumper):
    """Quotes what YAML 1.2, as recipes are read, takes for a number."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    looks_like_a_number = value[:1] in "+-.0123456789" and not is_text(value)
    style = "'" if value and looks_like_a_number else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)
