"""A folder from which `ptm` is used as in the README, with relative paths."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.small_runs import QUICKSTART, small_overrides

RECIPE = "tiny.yaml"


@pytest.fixture(scope="module")
def user_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(QUICKSTART / "roberta-tiny.yaml", folder / RECIPE)
    return folder


@pytest.fixture(scope="module")
def small(store: Path) -> list[str]:
    """RECIPE and the overrides of a training of 12 steps, without the name of the run."""
    every = ["tracking.log_every=2", "tracking.evaluate_every=100"]
    overrides = small_overrides(store, Path("runs"), "unused", *every)
    return [RECIPE, *(word for word in overrides if not word.startswith("name="))]
