"""Import rules beyond the layers that `make imports` checks: heavy packages are loaded lazily."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest


def importers(project: Path, module: str) -> set[str]:
    """Files of ptm that import `module` or one of its submodules."""
    found = set()
    for path in (project / "ptm").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            if any(name.split(".")[0] == module for name in names):
                found.add(path.relative_to(project).as_posix())
    return found


def test_deepspeed_is_imported_by_two_files(project: Path) -> None:
    files = {"ptm/engines/deepspeed.py", "ptm/engines/async_io.py"}
    assert importers(project, "deepspeed") == files


def test_transformers_is_imported_in_interop_only(project: Path) -> None:
    assert all(path.startswith("ptm/interop/") for path in importers(project, "transformers"))


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("ptm.store.preprocess", ("torch", "deepspeed", "transformers")),
        ("ptm.cli", ("torch", "numpy", "pydantic", "deepspeed", "transformers")),
    ],
)
def test_a_module_loads_no_heavy_package(module: str, unwanted: tuple[str, ...]) -> None:
    show = f"import sys, {module}; print(*(m for m in {unwanted!r} if m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", show],
        env=os.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == []


def loaded_by(script: str, *arguments: str, cwd: Path) -> set[str]:
    """The packages of `HEAVY` that a Python process has loaded at the end of `script`."""
    show = (
        f"{script}\nimport sys; print('\\n' + ' '.join(m for m in {HEAVY!r} if m in sys.modules))"
    )
    command = [sys.executable, "-c", show, *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


HEAVY = ("torch", "deepspeed", "transformers", "safetensors.torch", "torchmetrics", "wandb")


def test_all_bundled_recipes_are_read_without_torch(project: Path) -> None:
    script = (
        "import pathlib; from ptm.recipe import load_recipe\n"
        "paths = sorted(pathlib.Path('recipes').glob('*/*.yaml'))\n"
        "assert len(paths) > 100\n"
        "for path in paths: load_recipe(str(path))"
    )
    assert loaded_by(script, cwd=project) == set()


@pytest.mark.parametrize(
    "arguments",
    [
        ("validate", "recipes/bert/tiny.yaml"),
        ("validate", "recipes/t5/tiny.yaml"),
        ("preprocess", "recipes/quickstart/roberta-tiny.yaml", "data.store={out}/store"),
        ("runs", "{out}"),
    ],
    ids=lambda arguments: "-".join(arguments[:2]),
)
def test_commands_that_do_not_need_torch_do_not_load_it(
    project: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    words = [word.format(out=tmp_path) for word in arguments]
    script = "import sys; from ptm.cli import main; assert main(sys.argv[1:]) == 0"
    assert loaded_by(script, *words, cwd=project) == set()
