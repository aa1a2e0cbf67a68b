"""CITATION.cff repeats facts that the package declares."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from ptm.version import __version__


@pytest.fixture(scope="module")
def citation(project: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((project / "CITATION.cff").read_text("utf-8"))
    return loaded


def test_the_version_is_that_of_the_package(citation: dict[str, Any]) -> None:
    assert citation["version"] == __version__


def test_the_licence_is_that_of_the_package(citation: dict[str, Any], project: Path) -> None:
    package = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["project"]
    assert citation["license"] == package["license"]
