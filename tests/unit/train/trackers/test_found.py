"""Trackers are found by scanning, and those that cannot run are named before a training."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from ptm.cli import main
from ptm.errors import EXIT_USER
from ptm.recipe import Recipe, load_recipe
from ptm.recipe.tracking import TrackingBlock
from ptm.train.trackers import known_trackers, missing_packages
from ptm.train.trackers.best import BestValues
from ptm.train.trackers.flat_recipe import flat_recipe
from ptm.train.validate import check_recipe
from tests.support.small_runs import Runs, small_overrides

ALL = (
    "tracking.tensorboard=true",
    "tracking.wandb={}",
    "tracking.mlflow={}",
    "tracking.swanlab={}",
)


def recipe(project: Path, *values: str) -> Recipe:
    return load_recipe(str(project / "recipes" / "quickstart" / "roberta-tiny.yaml"), list(values))


def test_every_tracker_has_a_file_and_a_key_of_the_recipe() -> None:
    assert sorted(known_trackers()) == ["mlflow", "swanlab", "tensorboard", "wandb"]
    assert set(known_trackers()) < set(TrackingBlock.model_fields)


def test_a_missing_package_is_named_with_its_extra(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec

    def find(name: str) -> ModuleSpec | None:
        return None if name in ("mlflow", "tensorboard") else found(name)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    given = recipe(project, "tracking.mlflow={}", "tracking.tensorboard=true", "tracking.wandb={}")
    expected = [
        f"tracking.{key}: the package {key} is not installed. Install it with: "
        f"pip install -e '.[{key}]'"
        for key in ("mlflow", "tensorboard")
    ]
    assert list(missing_packages(given)) == expected
    unchecked = check_recipe(given, need_inputs=False).unchecked
    assert set(expected) <= set(unchecked)


@pytest.mark.parametrize(
    ("key", "command"),
    [("wandb", "pip install wandb"), ("swanlab", "pip install -e '.[swanlab]'")],
)
@pytest.mark.parametrize("ptm", ["train", "launch"])
def test_a_missing_package_ends_a_training_before_it_starts(
    project: Path,
    runs: Runs,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    key: str,
    command: str,
    ptm: str,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    file = str(project / "recipes" / "quickstart" / "roberta-tiny.yaml")
    given = small_overrides(runs.store, runs.folder, "run", f"tracking.{key}={{}}")
    assert main([ptm, file, *given]) == EXIT_USER
    message = f"tracking.{key}: the package {key} is not installed. Install it with: {command}\n"
    assert capsys.readouterr().err == f"ptm: {message}"
    assert not (runs.folder / "run").exists()


def test_trackers_that_are_off_need_no_package(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    off = recipe(project, "tracking.wandb=null", "tracking.tensorboard=false")
    assert list(missing_packages(off)) == []
    assert len(list(missing_packages(recipe(project, *ALL)))) == 4


def test_the_flat_recipe_has_dotted_keys_and_texts(project: Path) -> None:
    flat = flat_recipe(
        recipe(project, "optimizer.learning_rate=1e-3", "tracking.wandb={tags: [a]}")
    )
    assert flat["optimizer.learning_rate"] == "0.001"
    assert flat["objective.type"] == "mlm"
    assert flat["tracking.wandb.tags"] == '["a"]'
    assert flat["init_from"] == "null"


def test_the_best_values_follow_the_direction_of_a_metric(project: Path) -> None:
    best = BestValues(recipe(project).objective)
    assert best.update({"eval/loss": 2.0, "eval/mlm_accuracy": 0.5, "perf/mfu": 0.1}) == {
        "eval/loss.min": 2.0,
        "eval/mlm_accuracy.max": 0.5,
    }
    worse = {"eval/loss": 3.0, "eval/mlm_accuracy": 0.4}
    assert best.update(worse) == {}
    assert best.update({"eval/loss": float("nan"), "eval/mlm_accuracy": 0.6}) == {
        "eval/mlm_accuracy.max": 0.6
    }
