"""Fixtures that run `ptm launch` as a process and watch all processes that it starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from ptm.checkpoint.format import checkpoint_folders, step_of
from tests.support.small_runs import PROJECT, QUICKSTART, small_overrides

SECONDS = 150
"""Time limit of a launch; most take about ten seconds."""
ENDLESS = ("train.steps=1000000", "tracking.evaluate_every=1000000", "checkpoint.every=20")
_OF_A_LAUNCHER = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_SIZE", "MASTER_ADDR", "MASTER_PORT")


STUB = """\
import sys
if any(word.endswith("launch/train.py") for word in sys.orig_argv[1:3]):
    import runpy
    runpy.run_path({script!r})
"""
"""A sitecustomize.py with which Python runs another script in place of launch/train.py."""


class Launch:
    """One `ptm launch`."""

    def __init__(self, store: Path, folder: Path, name: str, *, path: str) -> None:
        """`path`: PYTHONPATH of the ranks."""
        self.run = folder / "runs" / name
        self._path = path
        self.log = folder / f"{name}.log"
        self._small = partial(small_overrides, store, folder / "runs", name)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *words: str, **environment: str) -> None:
        """Start `ptm launch` on CPUs with options and overrides `words`, and more variables."""
        clean = {key: value for key, value in os.environ.items() if key not in _OF_A_LAUNCHER}
        ours = {"PYTHONPATH": self._path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        options = [word for word in words if word.startswith("-")]
        overrides = self._small(*(word for word in words if not word.startswith("-")))
        recipe = str(QUICKSTART / "roberta-tiny.yaml")
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ptm", "launch", *options, recipe, *overrides],
                env={**clean, **ours, "DS_ACCELERATOR": "cpu", **environment},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "not started"
        return self._process

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def wait(self, seconds: float = SECONDS) -> int:
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"not done after {seconds} seconds:\n{self.output}") from None

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def until(self, true: Callable[[], Any], what: str) -> None:
        end = time.monotonic() + SECONDS
        while not true():
            assert self.process.poll() is None, self.output
            assert time.monotonic() < end, f"no {what}:\n{self.output}"
            time.sleep(0.1)

    def until_training(self) -> None:
        """Wait until step 20 has been reported and a checkpoint has been saved."""
        self.until(lambda: "step 20/" in self.output and self.checkpoint() > 0, "training")

    def note(self, rank: int) -> dict[str, Any]:
        path = self.run / "ranks" / f"rank{rank:05d}.json"
        status: dict[str, Any] = json.loads(path.read_text())
        return status

    def checkpoint(self) -> int:
        """Step of the newest checkpoint; 0 without a checkpoint."""
        found = checkpoint_folders(self.run / "checkpoints")
        return step_of(found[0]) if found else 0

    def saved_where_it_stopped(self) -> bool:
        return f"stopped at step {self.checkpoint()} " in self.output

    def processes(self) -> list[psutil.Process]:
        """All processes of the launch, recognised by the run folder in their command lines."""
        mark = f"runs_dir={self.run.parent}"
        return [
            process
            for process in psutil.process_iter()
            if process.pid != self.process.pid and mark in _command_line(process)
        ]

    def end(self) -> None:
        """Kill all processes of the launch."""
        if self._process is not None:
            for process in self.processes():
                with suppress(psutil.Error):
                    process.kill()
            self._process.kill()
            self._process.wait()


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.fixture
def stub_path(tmp_path: Path) -> str:
    """A PYTHONPATH with which each rank runs `stub_rank.py`."""
    site = tmp_path / "site"
    site.mkdir()
    script = str(Path(__file__).with_name("stub_rank.py"))
    (site / "sitecustomize.py").write_text(STUB.format(script=script))
    return f"{site}:{PROJECT}"


@pytest.fixture
def launch(store: Path, tmp_path: Path, stub_path: str) -> Iterator[Launch]:
    """A launch whose ranks run `stub_rank.py`."""
    made = Launch(store, tmp_path, "launched", path=stub_path)
    yield made
    made.end()


@pytest.fixture
def real_launch(store: Path, tmp_path: Path) -> Iterator[Launch]:
    """A launch whose ranks train."""
    made = Launch(store, tmp_path, "launched", path=str(PROJECT))
    yield made
    made.end()
