"""The YAML of recipes: plain values, each with its line, within limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptm.errors import UserError
from ptm.recipe import load_recipe, recipe_yaml
from ptm.recipe.source import RecipeSource

BOMB = "x0: &x0 [a]\n" + "".join(
    f"x{n}: &x{n} [*x{n - 1}, *x{n - 1}, *x{n - 1}]\n" for n in range(1, 21)
)
REJECTED = {
    "a tag": ("a: !!python/object x\n", ":1: the recipe has the tag .*python/object"),
    "a directive": ("%YAML 1.1\n---\na: no\n", ":2: the recipe has a directive"),
    "depth": ("a: " + "[" * 40 + "]" * 40, ":1: the recipe has blocks nested more than 32 deep"),
    "many aliases": (
        "a: &x 1\nb: [" + "*x, " * 70 + "]",
        ":2: the recipe has more than 64 aliases",
    ),
    "aliases of aliases": (
        BOMB,
        "the recipe has more than 10,000 values after the expansion of aliases",
    ),
    "an anchor twice": ("a: &a 1\nb: &a 2\n", ":2: the recipe has the anchor &a twice"),
    "a value in itself": ("a: &a [*a]\n", ":1: a.0 contains itself"),
    "an escape that is no character": ('a: "\\UFFFFFFFF"\n', "is not valid YAML"),
    "a key twice": ("a: 1\na: 2\n", r":2: a is given twice \(first in line 1\)"),
    "a list": ("[1]", "is not a recipe"),
    "nothing": ("", "is not a recipe"),
}


def test_a_recipe_of_ptm_that_is_not_here_can_be_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"copy it with `ptm recipes --copy gpt2/tiny`\.$"):
        RecipeSource.read("recipes/gpt2/tiny.yaml")
    with pytest.raises(UserError, match="cannot be read"):
        RecipeSource.read("recipes/gpt2/gigantic.yaml")


@pytest.mark.parametrize(("text", "sentence"), REJECTED.values(), ids=REJECTED)
def test_unsupported_yaml_is_rejected_with_its_line(
    tmp_path: Path, text: str, sentence: str
) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=sentence):
        RecipeSource.read(str(path))


def test_values_are_read_as_yaml_1_2(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("a: 1e-4\nb: no\nc: 010\nd: 1:30\ne: 0o17\nf: ~\ng: &x 3\nh: *x\n")
    expected = {"a": 1e-4, "b": "no", "c": 10, "d": "1:30", "e": 15, "f": None, "g": 3, "h": 3}
    assert RecipeSource.read(str(path)).data == expected


@pytest.mark.parametrize("value", ["!!str 3", "*x", '"\\UFFFFFFFF"', "[[["])
def test_an_invalid_override_is_quoted_in_its_error(value: str) -> None:
    with pytest.raises(UserError, match='"name='):
        RecipeSource({}, "recipe", {}).override(f"name={value}")


@pytest.mark.parametrize("name", ["0o17", "1e5", "2024", "1.0.0", "v1"])
def test_a_name_that_looks_like_a_number_survives_the_resolved_recipe(
    project: Path, tmp_path: Path, name: str
) -> None:
    recipe = load_recipe(str(project / "recipes/bert/tiny.yaml"), [f"name='{name}'"])
    path = tmp_path / "resolved.yaml"
    path.write_text(recipe_yaml(recipe), encoding="utf-8")
    assert load_recipe(str(path)) == recipe
