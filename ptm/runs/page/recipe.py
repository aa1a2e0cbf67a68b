"""The recipe of a run on its page: what differs from its file and the defaults, then all of it."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined, to_jsonable_python

from ptm.errors import UserError
from ptm.files.reading import MEGABYTE, FileContentError, read_text
from ptm.recipe import Recipe, recipe_from_data, with_shown_urls
from ptm.recipe.origin import RecipeOrigin, leaves
from ptm.recipe.saved_files import RECIPE, read_environment, read_recipe_data
from ptm.runs.page.html import subtable

_REQUIRED, _NOT_SET = "required", "not set"
_LEFT_OUT = ("name", "runs_dir")


@dataclass(frozen=True)
class Field:
    """A field of a resolved recipe. Values are JSON."""

    key: str
    """Dotted."""
    value: str
    default: str | None
    """None if the field has no default."""
    in_file: str | None = None
    """The value in the recipe file; None if the file does not set it."""
    is_overridden: bool = False
    """Whether the command line set it."""

    @property
    def differs(self) -> bool:
        """Whether the field has another value than its default."""
        return self.value != self.default


def recipe_section(run: Path) -> str:
    """The HTML of the section. Raises UserError if the recipe of the run is damaged."""
    data = read_recipe_data(run / RECIPE)
    environment = read_environment(run, damage=[])
    origin = environment.recipe.origin if environment and environment.recipe else None
    try:
        recipe = recipe_from_data(data, Recipe, name=str(run / RECIPE))
        parts = _differences(fields_of(recipe, origin or RecipeOrigin()), origin)
    except UserError as error:
        # A file that the recipe names, such as a word list, may be on another machine.
        parts = [f"<p>The differences are unknown. {html.escape(str(error))}</p>"]
    return f"<h2>Recipe</h2>{''.join(parts)}{_fold(run)}"


def fields_of(recipe: Recipe, origin: RecipeOrigin) -> list[Field]:
    """All fields of a recipe except its name and folder, in the order of the blocks.

    Raises UserError if the text of `origin` is no recipe.
    """
    in_file = {key: _json(value) for key, value in origin.values().items()} if origin.text else {}
    overridden = origin.overridden
    return [
        Field(
            key,
            value,
            default,
            in_file=in_file.get(key),
            is_overridden=any(key == one or key.startswith(f"{one}.") for one in overridden),
        )
        for key, value, default in _walk(recipe, with_shown_urls(recipe.model_dump(mode="json")))
        if key not in _LEFT_OUT
    ]


def _walk(
    config: BaseModel, data: Mapping[str, Any], default: Any = None, at: str = ""
) -> Iterator[tuple[str, str, str | None]]:
    """Key, value and default of each field below `config`, whose JSON is `data`.

    `default`: the default of the whole block. If it is of another type than `config`, the fields
    of `config` have their own defaults.
    """
    for name, field in type(config).model_fields.items():
        key, value = f"{at}{name}", getattr(config, name)
        has_block_default = type(default) is type(config)
        fallback = (
            getattr(default, name)
            if has_block_default
            else field.get_default(call_default_factory=True, validated_data={})
        )
        if isinstance(value, BaseModel):
            yield from _walk(value, data[name], fallback, f"{key}.")
        elif isinstance(data[name], dict) and data[name]:
            # Named blocks, such as the sources of a mixture, have no defaults.
            yield from ((inner, _json(one), None) for inner, one in leaves(data[name], key))
        else:
            is_required = fallback is PydanticUndefined
            yield (
                key,
                _json(data[name]),
                None if is_required else _json(to_jsonable_python(fallback)),
            )


def _json(value: Any) -> str:
    """A value on one line; 1.0 and 1 are equal."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    return json.dumps(value, ensure_ascii=False)


def _differences(fields: Sequence[Field], origin: RecipeOrigin | None) -> list[str]:
    """The tables of the section."""
    overridden = [one for one in fields if one.is_overridden]
    others = [one for one in fields if one.differs and not one.is_overridden]
    parts = []
    if origin is not None:
        file = html.escape(origin.file or "")
        parts.append(f"<p>From <code>{file}</code>.</p>")
        if overridden:
            head = ("set on the command line", "this run", "recipe file", "default")
            rows = [
                (
                    one.key,
                    shown_value(one.value),
                    shown_value(one.in_file, _NOT_SET),
                    shown_value(one.default),
                )
                for one in overridden
            ]
            parts.append(subtable(head, rows))
    if others:
        title = "differs from the default" if origin is None else "set in the recipe file"
        values = [(one.key, shown_value(one.value), shown_value(one.default)) for one in others]
        parts.append(subtable((title, "this run", "default"), values))
    return parts


def shown_value(value: str | None, missing: str = _REQUIRED) -> str:
    """A value in JSON as people write it: text without quotes; `missing` for None."""
    if value is None:
        return missing
    return str(json.loads(value)) if value.startswith('"') and len(value) > 2 else value


def _fold(run: Path) -> str:
    """The whole resolved recipe. Raises UserError if it cannot be read."""
    try:
        text = read_text(run / RECIPE, limit=MEGABYTE)
    except (OSError, FileContentError) as error:
        raise UserError(f"{run / RECIPE}: the file is damaged: {error}.") from error
    return (
        "<details><summary>The whole recipe, with all defaults</summary>"
        f"<pre>{html.escape(text)}</pre></details>"
    )
