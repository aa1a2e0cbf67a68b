"""What may import what, beyond the layers that `make imports` checks."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest


def importers(project: Path, module: str) -> set[str]:
    """The files of ptm that import `module` or a part of it."""
    found = set()
    for path in (project / "ptm").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            if any(name.split(".")[0] == module for name in names):
                found.add(path.relative_to(project).as_posix())
    return found


def test_deepspeed_is_imported_by_two_files_at_most(project: Path) -> None:
    assert 1 <= len(importers(project, "deepspeed")) <= 2


def test_transformers_is_imported_in_interop_at_most(project: Path) -> None:
    assert all(path.startswith("ptm/interop/") for path in importers(project, "transformers"))


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("ptm.store.preprocess", ("torch", "deepspeed", "transformers")),
        ("ptm.cli", ("torch", "numpy", "pydantic", "deepspeed", "transformers")),
    ],
)
def test_a_module_loads_no_more_than_it_needs(module: str, unwanted: tuple[str, ...]) -> None:
    show = f"import sys, {module}; print(*(m for m in {unwanted!r} if m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", show],
        env=os.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == []
