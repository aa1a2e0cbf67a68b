"""Validation of a recipe's data, with errors that name file, line, dotted path and the right
key."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, TypeGuard, TypeVar

import yaml
from pydantic import ValidationError

from ptm.component import Config
from ptm.errors import UserError
from ptm.escaping import shown_url
from ptm.recipe.blocks import Recipe
from ptm.recipe.former_keys import FORMAT, FORMAT_KEY, convert, take_format
from ptm.recipe.keys import has_key
from ptm.recipe.model_recipe import ModelRecipe
from ptm.recipe.origin import RecipeOrigin
from ptm.recipe.rules import problems
from ptm.recipe.source import Key, RecipeSource, is_text
from ptm.recipe.suggestions import key_hint, value_hint
from ptm.validation import what_is_wrong, wrong_types

C = TypeVar("C", bound=Config)


def load_recipe(path: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read the file at `path`, apply KEY=VALUE overrides, validate.

    A resolved recipe that an earlier version wrote is converted to today's keys. Raises UserError
    with one line per mistake.
    """
    source = RecipeSource.read(path)
    number = take_format(source.data, name=path)
    if number is not None:
        source.data = convert(source.data, format_number=number)
    for argument in overrides:
        source.override(argument)
    recipe = _validated(source, Recipe)
    recipe.set_origin(RecipeOrigin.of(path, source.text, tuple(overrides)))
    return recipe


def recipe_from_data(
    data: Mapping[str, Any], kind: type[C], *, name: str, overrides: Sequence[str] = ()
) -> C:
    """A recipe of the class `kind` from data that a program wrote; `name` is used in messages.

    Keys of `data` that a whole `Recipe` has and `kind` lacks are dropped; those of `overrides` are
    errors. Raises UserError with one line per mistake.
    """
    source = RecipeSource(_only_known(deepcopy(dict(data)), kind, whole=Recipe), name, {})
    for argument in overrides:
        source.override(argument)
    return _validated(source, kind)


def _only_known(data: dict[str, Any], kind: type[Config], *, whole: type[Config]) -> dict[str, Any]:
    """Drop the keys that `whole` has and `kind` lacks, at any depth."""
    found = {}
    for key, value in data.items():
        if key in whole.model_fields and key not in kind.model_fields:
            continue
        fields = (one.model_fields.get(key) for one in (kind, whole))
        inner, outer = (field.annotation if field else None for field in fields)
        if isinstance(value, dict) and _is_config(inner) and _is_config(outer):
            value = _only_known(value, inner, whole=outer)
        found[key] = value
    return found


def _is_config(annotation: Any) -> TypeGuard[type[Config]]:
    return isinstance(annotation, type) and issubclass(annotation, Config)


def _validated(source: RecipeSource, kind: type[C]) -> C:
    try:
        recipe = kind.model_validate(source.data)
    except ValidationError as error:
        sentences = [_sentence(items, source, kind) for items in _by_value(error, source.data)]
        raise UserError(*dict.fromkeys(sentences)) from error
    found = [
        f"{source.where(tuple(p.path.split('.')))}{p.path}: {p.sentence}" for p in problems(recipe)
    ]
    if found:
        raise UserError(*found)
    return recipe


def _by_value(error: ValidationError, data: Any) -> list[list[dict[str, Any]]]:
    """The errors of each value; several belong together if no member of a union accepts it.

    Without "not text" of a block or a list, if errors inside it say what is wrong.
    """
    found: dict[Key, list[dict[str, Any]]] = {}
    for item in error.errors(include_url=False):
        found.setdefault(_written_path(item["loc"], data), []).append(dict(item))
    groups: list[list[dict[str, Any]]] = []
    for items in found.values():
        groups += [items] if wrong_types(items) else [[item] for item in items]
    return [items for items in groups if not _is_block_for_text(items)] or groups


def _is_block_for_text(errors: Sequence[Mapping[str, Any]]) -> bool:
    return all(
        error["type"] == "string_type" and isinstance(error["input"], dict | list)
        for error in errors
    )


def _sentence(errors: Sequence[dict[str, Any]], source: RecipeSource, recipe: type[Config]) -> str:
    """The pydantic errors of one value as `file:line: dotted.path: what was wrong`."""
    error = errors[0]
    key = _written_path(error["loc"], source.data)
    context = error.get("ctx", {})

    def exists(dotted: str) -> bool:
        return has_key(recipe, source.data, dotted.split("."))

    kind = error["type"]
    if kind == "unknown_key":
        key = (*key, context["key"])
        what = f"unknown key.{key_hint(_names(key), context['known'], exists=exists)}"
    elif kind == "union_tag_invalid":
        key = (*key, context["discriminator"].strip("'"))
        known = [tag.strip(" '") for tag in context["expected_tags"].split(",")]
        hint = value_hint(_names(key), context["tag"], known)
        what = f'"{context["tag"]}" is not supported.{hint}'
    elif kind == "union_tag_not_found":
        name = context["discriminator"].strip("'")
        what = f"the key `{name}` is required and missing."
    elif kind == "missing":
        what = "is required and missing."
    elif kind == "literal_error":
        known = [choice.strip(" '") for choice in re.split(r",| or ", context["expected"])]
        hint = value_hint(_names(key), str(error["input"]), known)
        what = f"{_shown(error['input'])} is not supported.{hint}"
    else:
        message = wrong_types(errors) or what_is_wrong(error)
        given = "" if kind == "value_error" else f"{_shown(error['input'])}: "
        what = f"{given}{message[0].lower()}{message[1:]}"
        what = what if what.endswith("?") else what + "."
    dotted = ".".join(str(part) for part in key) or "the recipe"
    return f"{source.where(key, what)}{dotted}: {what}"


def _written_path(location: Sequence[str | int], data: Any) -> Key:
    """The path as it is in the file: pydantic's location without union tags and type names."""
    path: list[str | int] = []
    value = data
    for index, part in enumerate(location):
        inside = _inside(value, part)
        if inside is not _ABSENT:
            value = inside
        elif (
            isinstance(value, dict)
            and index == len(location) - 1
            and not _is_tag(part, value)
            and not _is_type_name(part)
        ):
            path.append(part)
            break
        else:
            continue
        path.append(part)
    return tuple(path)


def _names(key: Key) -> tuple[str, ...]:
    return tuple(str(part) for part in key)


_ABSENT = object()
_TAGS = ("type", "unit", "spans", "lengths")
"""Discriminators: the keys whose value selects one of several configs for a block."""


def _inside(data: Any, part: str | int) -> Any:
    """The value of `data` at a key or an index, `_ABSENT` if there is no such entry."""
    if isinstance(data, dict):
        return data.get(part, _ABSENT)
    if isinstance(data, list) and isinstance(part, int) and part < len(data):
        return data[part]
    return _ABSENT


def _is_type_name(part: str | int) -> bool:
    """Whether pydantic put a member of a union into the location: `str`, `tuple[str, ...]`."""
    return isinstance(part, str) and (part in ("str", "int", "float", "bool") or "[" in part)


def _is_tag(part: str | int, block: Mapping[str, Any]) -> bool:
    return part in (block.get(tag) for tag in _TAGS)


def _shown(value: Any) -> str:
    """A value as YAML has it, cut after 60 characters."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    text = repr(value) if not isinstance(value, str) else f'"{value}"'
    return text if len(text) <= 60 else f"{text[:57]}..."


_BLOCKS = (
    *("name", "runs_dir", "seed", "init_from", "tokenizer", "target_tokenizer", "data", "model"),
    *("objective", "adapter", "optimizer", "schedule", "train", "engine", "checkpoint", "tracking"),
)
"""In the order in which people write them."""


def recipe_yaml(recipe: ModelRecipe) -> str:
    """The recipe with every default, as YAML in the order of the blocks, with its format number.

    URLs of corpora are without their secrets.
    """
    return yaml_of_blocks(recipe.model_dump(mode="json"), with_format=True)


def yaml_of_blocks(data: Mapping[str, Any], *, with_format: bool = False) -> str:
    """The JSON data of a recipe as YAML in the order of the blocks.

    `with_format`: begin with the format number.
    """
    shown = with_shown_urls(data)
    ordered = {FORMAT_KEY: FORMAT} if with_format else {}
    ordered |= {key: shown[key] for key in sorted(shown, key=_BLOCKS.index)}
    return yaml.dump(ordered, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def with_shown_urls(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a recipe, with the URLs of its corpora as `ptm.escaping.shown_url` gives them."""
    block = data.get("data")
    if not isinstance(block, dict):
        return dict(data)
    shown = {key: _shown_urls(block[key]) for key in ("corpus", "evaluation") if key in block}
    return {**data, "data": {**block, **shown}}


def _shown_urls(value: Any) -> Any:
    if isinstance(value, str):
        return shown_url(value)
    if isinstance(value, dict):
        return {key: _shown_urls(one) for key, one in value.items()}
    return [_shown_urls(one) for one in value] if isinstance(value, list) else value


class _Dumper(yaml.SafeDumper):
    """Quotes strings that a YAML 1.2 reader would take for numbers."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    looks_like_a_number = value[:1] in "+-.0123456789" and not is_text(value)
    style = "'" if value and looks_like_a_number else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)
