"""The generated pages of docs/ are those of the code."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from ptm.recipe import Recipe
from ptm.recipe.keys import configs_in, keys_of


@pytest.fixture(scope="module")
def generate(project: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", project / "docs/generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["recipe.md", "commands.md", "errors.md"])
def test_a_generated_page_is_up_to_date(generate: ModuleType, project: Path, name: str) -> None:
    assert generate.page(name) == (project / "docs" / name).read_text(encoding="utf-8"), (
        f"docs/{name} is out of date: run `make docs`"
    )


def test_every_key_of_a_recipe_is_in_the_reference_with_its_meaning(generate: ModuleType) -> None:
    discriminators = ("type", "unit", "spans", "lengths")
    text = generate.page("recipe.md")
    for key in keys_of(Recipe):
        if key.path[-1] in discriminators or any(True for _ in configs_in(key.field.annotation)):
            continue
        assert f"| `{key.path[-1]}` |" in text, key.dotted
        assert generate.field_meanings(key.config).get(key.path[-1]), f"{key.dotted}: no docstring"
