"""W&B without a network, and a recipe with W&B and TensorBoard."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import wandb

from ptm.recipe import Recipe, load_recipe
from tests.integration.trackers.reading import (
    BOTH,
)
from tests.support.small_runs import QUICKSTART, small_overrides


@pytest.fixture(autouse=True)
def _nowhere_to_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hide the user's W&B login: the tests find no key and no server."""
    for name in list(os.environ):
        if name.startswith("WANDB_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb-config"))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    logging.getLogger("ptm").propagate = True
    yield
    wandb.teardown()  # W&B reads the environment once


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    overrides = small_overrides(tmp_path / "store", tmp_path, "alone")
    return load_recipe(str(QUICKSTART / "roberta-tiny.yaml"), [*overrides, *BOTH])
