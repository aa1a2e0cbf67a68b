"""What the page says about a recipe: the command, what it sets, and what the defaults are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ptm.recipe import load_recipe
from ptm.recipe.origin import RecipeOrigin
from ptm.recipe.saved_files import read_environment
from ptm.runs.page.headline import command_of
from ptm.runs.page.recipe import Field, fields_of, recipe_section
from ptm.train.environment import environment
from tests.support.run_folders import write_run
from tests.support.small_runs import QUICKSTART

RECIPE = str(QUICKSTART / "roberta-tiny.yaml")


def fields(*overrides: str) -> dict[str, Field]:
    recipe = load_recipe(RECIPE, overrides)
    return {one.key: one for one in fields_of(recipe, recipe.origin)}


def test_a_field_has_the_value_of_the_file_and_the_default() -> None:
    found = fields("train.steps=3", "train.anomalies={policy: skip}", "objective.masking.rate=0.2")
    assert found["train.steps"] == Field("train.steps", "3", "null", "1600", is_overridden=True)
    assert found["objective.masking.rate"].default == "0.15"
    assert found["train.anomalies.policy"].is_overridden, "a block of the command line"
    assert found["train.anomalies.policy"].in_file is None
    assert not found["optimizer.learning_rate"].is_overridden
    assert found["optimizer.learning_rate"].default is None, "a required field"
    assert not found["optimizer.beta1"].differs
    assert found["optimizer.beta2"].differs


def test_the_fields_of_another_type_have_their_own_defaults() -> None:
    found = fields("model.init={std: 0.02}", "data.corpus={web: {files: a.txt, weight: 2}}")
    assert not found["model.init.std"].differs
    assert found["data.corpus.web.weight"].value == "2"


def write_environment(run: Path, origin: RecipeOrigin, *, ranks: int = 1) -> None:
    content = environment("0" * 32, {"here": ranks}, origin)
    (run / "environment.json").write_text(json.dumps(content), encoding="utf-8")


def test_the_section_separates_command_line_and_file(tmp_path: Path) -> None:
    run = write_run(tmp_path / "one", "train.steps=40")
    write_environment(run, load_recipe(RECIPE, ["train.steps=40"]).origin)
    section = recipe_section(run)
    line, file = section.split("set in the recipe file")
    assert "<td>train.steps</td><td>40</td><td>1600</td>" in line
    assert "<td>optimizer.beta2</td><td>0.98</td><td>0.999</td>" in file
    assert "train.steps</td>" not in file
    table, fold = file.split("<details>")
    assert "beta1" not in table, "it has its default"
    assert "beta1: 0.9" in fold


def test_a_run_of_an_earlier_version_has_differences_from_the_defaults(tmp_path: Path) -> None:
    run = write_run(tmp_path / "one", "train.steps=40")
    assert "differs from the default" in recipe_section(run)
    assert command_of(run, None).endswith("recipe.yaml name=NAME")


def test_a_recipe_whose_files_are_missing_is_still_shown(tmp_path: Path) -> None:
    run = write_run(tmp_path / "one")
    text = (run / "recipe.yaml").read_text(encoding="utf-8")
    wrong = text.replace("type: adamw", "type: unknown")
    (run / "recipe.yaml").write_text(wrong, encoding="utf-8")
    section = recipe_section(run)
    assert "The differences are unknown." in section
    assert "type: unknown" in section


@pytest.mark.parametrize(
    ("ranks", "program"), [(1, "ptm train"), (2, "ptm launch --num-gpus 2")], ids=["one", "two"]
)
def test_the_command_has_the_overrides_without_secrets(
    tmp_path: Path, ranks: int, program: str
) -> None:
    run = write_run(tmp_path / "one")
    corpus = "data.corpus=https://me:key@host/a b?token=secret"
    write_environment(run, RecipeOrigin.of("my recipe.yaml", "name: x", (corpus,)), ranks=ranks)
    command = command_of(run, read_environment(run))
    assert command.startswith(f"{program} 'my recipe.yaml' 'data.corpus=https://HIDDEN@host/a b")
    assert "key@" not in command


def test_recipes_are_equal_wherever_they_were_read() -> None:
    one, other = load_recipe(RECIPE, ["seed=1", "seed=2"]), load_recipe(RECIPE, ["seed=2"])
    assert one.origin.overrides != other.origin.overrides
    assert one == other
