"""A wheel works in an environment of its own, without the checkout."""

from __future__ import annotations

import os
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.support.small_runs import PROJECT

RECIPE = "recipes/quickstart/roberta-tiny.yaml"


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command without the variables that point to the checkout; return what it prints."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MYPYPATH")}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_an_installed_wheel_trains_without_the_checkout(tmp_path: Path) -> None:
    run(
        *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"),
        *("--wheel-dir", tmp_path / "wheel", PROJECT),
        cwd=tmp_path,
    )
    (wheel,) = (tmp_path / "wheel").glob("ptm-*.whl")
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    # The other packages of this environment, but not the links to the checkout beside them.
    (packages,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (packages / "others.pth").write_text("\n".join(site.getsitepackages()), encoding="utf-8")
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", wheel, cwd=tmp_path)
    ptm = tmp_path / "venv" / "bin" / "ptm"
    where = run(python, "-c", "import ptm; print(ptm.__file__)", cwd=tmp_path)
    assert str(tmp_path) in where

    assert "bert/tiny" in run(ptm, "recipes", cwd=tmp_path)
    run(ptm, "recipes", "--copy", "quickstart", cwd=tmp_path)
    assert f"{RECIPE}: valid" in run(ptm, "validate", RECIPE, cwd=tmp_path)
    run(ptm, "preprocess", RECIPE, cwd=tmp_path)
    # The files of DeepSpeed's settings and the script of the ranks are not in this folder.
    launched = run(
        *(ptm, "launch", "--num-gpus", "2", RECIPE, "train.steps=2", "engine.deepspeed=zero2"),
        cwd=tmp_path,
    )
    assert "step 2/2" in launched
    run(ptm, "export", "runs/quickstart", "exported", "--to", "hf", cwd=tmp_path)
    assert (tmp_path / "exported" / "model.safetensors").is_file()
