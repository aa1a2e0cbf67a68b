"""Trainings on several ranks of this machine: many in one launch, with the outcome of each."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest

from tests.support.small_runs import PROJECT, QUICKSTART, small_overrides, without_timing
from tests.support.train_many import run_command, run_rank

BIN = Path(sys.executable).parent
RECIPE = QUICKSTART / "roberta-tiny.yaml"
COMMON = (
    # Three layers can be split into four stages. Each row has one document, or part of one.
    *("model.encoder.layers=3", "data.packing=false", "data.held_out=0.005"),
    *("train.micro_batch_size=2", "tracking.log_every=1", "checkpoint.every=100"),
)

PATIENCE = 100.0
"""Time limit, in seconds, of each training on the ranks of a launch; most take one second."""
RUNS = "THE-RUNS"
"""Placeholder in overrides for the folder of a launch's runs."""

# Loading torch and DeepSpeed takes longer than most of these trainings, so ranks are forked from a
# process that has loaded them.
_FORKSERVER = multiprocessing.get_context("forkserver")
_FORKSERVER.set_forkserver_preload(["tests.support.train_many"])


@dataclass(frozen=True)
class Training:
    """One training: its overrides and, in `stop_at`, the step after which one rank is stopped.

    A training that is listed again under the same name resumes. `disturbed`: a step, and the factor
    by which its loss is multiplied. `on_rank_1`: further overrides for rank 1 only. `varlen`:
    attend within sequences, by a stand-in for the kernel of GPUs.
    """

    name: str
    overrides: tuple[str, ...]
    stop_at: int | None = None
    disturbed: tuple[int, float] | None = None
    on_rank_1: tuple[str, ...] = ()
    varlen: bool = False

    def arguments(self, store: Path, runs: Path, *, rank: int = 0) -> list[str]:
        own = (*self.overrides, *(self.on_rank_1 if rank == 1 else ()))
        own = tuple(override.replace(RUNS, str(runs)) for override in own)
        return [str(RECIPE), *small_overrides(store, runs, self.name, *COMMON, *own)]


@dataclass(frozen=True)
class Ended:
    """How a training ended on one rank."""

    code: int | None
    message: str


class Launch:
    """Trainings on ranks of this machine, in the background, one after another.

    A test that requests the outcome of a training waits for it, so that no test waits for trainings
    that it does not look at.
    """

    def __init__(self, *parts: Sequence[Training], ranks: int, store: Path, folder: Path) -> None:
        """Each of `parts` has its own processes, which start when a test requests an outcome."""
        self._parts = parts
        self._started: dict[int, _Ranks] = {}
        self._ranks = ranks
        self._store = store
        self._folder = folder
        self.runs = folder / "runs"

    def ended(self, name: str) -> list[list[Ended]]:
        """The outcome of a training per start and rank; waits until all its starts have ended."""
        part = next(
            number
            for number, trainings in enumerate(self._parts)
            if any(training.name == name for training in trainings)
        )
        if part not in self._started:
            folder = self._folder / f"part{part}"
            folder.mkdir()
            plan = listed(self._parts[part], self._store, self.runs, ranks=self._ranks)
            self._started[part] = _Ranks(plan, ranks=self._ranks, folder=folder)
        places = [place for place, one in enumerate(self._parts[part]) if one.name == name]
        every = self._started[part].wait_for(places[-1] + 1, name)
        return [[of_rank[place] for of_rank in every] for place in places]

    def codes(self, name: str) -> list[list[int | None]]:
        """The exit code of a training per start and rank."""
        found = self.ended(name)
        for start in found:
            for rank in start:
                assert rank.code is not None, rank.message
        return [[rank.code for rank in start] for start in found]

    def metrics(self, name: str) -> list[dict[str, Any]]:
        """The reports of a training; asserts that its last start ended with 0 on all ranks."""
        assert set(self.codes(name)[-1]) == {0}, self.ended(name)[-1]
        return reports(self.runs / name)

    def close(self) -> None:
        """Kill all ranks."""
        for ranks in self._started.values():
            ranks.close()


class _Ranks:
    """The processes of one part of a launch."""

    def __init__(self, plan: str, *, ranks: int, folder: Path) -> None:
        self._count = ranks
        self._folder = folder
        path = folder / "plan.json"
        path.write_text(plan, encoding="utf-8")
        self._processes = fork_ranks(path, ranks=ranks)

    def wait_for(self, count: int, name: str) -> list[list[Ended]]:
        """Outcomes per rank, once each rank has at least `count`, the last of training `name`."""
        most, end = -1, 0.0
        while True:
            broken = any(process.exitcode for process in self._processes)
            over = all(process.exitcode is not None for process in self._processes)
            every = [outcomes(self._folder, rank) for rank in range(self._count)]
            if min(map(len, every)) >= count:
                return every
            if sum(map(len, every)) > most:
                most, end = sum(map(len, every)), time.monotonic() + PATIENCE
            if broken or over or time.monotonic() > end:
                self.close()
                message = (self._folder / "output").read_text(encoding="utf-8", errors="replace")
                pytest.fail(f"training {name} was not reached:\n{message[-6000:]}")
            time.sleep(0.05)

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.join()


def fork_ranks(
    plan: Path,
    *,
    ranks: int,
    environments: Sequence[Mapping[str, str]] = (),
    folders: Sequence[Path] = (),
) -> list[ForkServerProcess]:
    """Start `ranks` processes for the trainings in file `plan`; log to `output` beside that file.

    `environments` and `folders`: more variables, and the working directory, of each rank.
    """
    log = plan.with_name("output")
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    started = []
    with _only_environment(_environment()):
        for rank in range(ranks):
            own = environments[rank] if environments else {}
            process = _FORKSERVER.Process(
                target=run_rank,
                args=(plan, log),
                kwargs={
                    "rank": rank,
                    "world_size": ranks,
                    "environment": {**meeting, "LOCAL_RANK": str(rank), **own},
                    "folder": folders[rank] if folders else None,
                },
                daemon=True,
            )
            process.start()
            started.append(process)
    return started


def fork_command(words: Sequence[str], *, log: Path) -> ForkServerProcess:
    """Start `ptm` with the arguments `words` as a process, with its output in `log`."""
    with _only_environment(_environment()):
        process = _FORKSERVER.Process(target=run_command, args=(words, log), daemon=True)
        process.start()
    return process


@contextmanager
def _only_environment(environment: Mapping[str, str]) -> Iterator[None]:
    """Set `os.environ` to `environment` within the block, for a fork server that starts there."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def reports(run: Path) -> list[dict[str, Any]]:
    """The records of a run's metrics.jsonl, without timings."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [without_timing(json.loads(line)) for line in lines]


@contextmanager
def launched(*parts: Sequence[Training], ranks: int, store: Path, folder: Path) -> Iterator[Launch]:
    """A `Launch` whose ranks are killed at the end of the block."""
    launch = Launch(*parts, ranks=ranks, store=store, folder=folder)
    try:
        yield launch
    finally:
        launch.close()


def listed(trainings: Sequence[Training], store: Path, runs: Path, *, ranks: int) -> str:
    """The plan for `run_rank` as JSON: per training, arguments of each rank, stop, disturbance."""
    return json.dumps(
        [
            {
                "arguments": [t.arguments(store, runs, rank=rank) for rank in range(ranks)],
                "stop_at": t.stop_at,
                "disturbed": t.disturbed,
                "varlen": t.varlen,
            }
            for t in trainings
        ]
    )


def outcomes(folder: Path, rank: int) -> list[Ended]:
    """The outcomes that `run_rank` has written beside its plan so far."""
    path = folder / f"ended-{rank}.jsonl"
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [Ended(**json.loads(line)) for line in lines if line.endswith("\n")]


def ranks_by_hand(
    arguments: Sequence[Sequence[str]], *, folder: Path, seconds: float = 60
) -> list[tuple[int, str]]:
    """Run `launch/train.py` as the ranks of one training, without a launcher.

    `arguments`: those of each rank. Returns exit code and output of each rank.
    """
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    started = []
    for rank, words in enumerate(arguments):
        numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": len(arguments)}
        environment = {name: str(number) for name, number in numbers.items()}
        process = subprocess.Popen(
            [sys.executable, str(PROJECT / "launch" / "train.py"), *words],
            env={**_environment(), **meeting, **environment},
            stdout=(folder / f"rank{rank}.log").open("w"),
            stderr=subprocess.STDOUT,
        )
        started.append(process)
    end = time.monotonic() + seconds
    try:
        codes = [process.wait(max(end - time.monotonic(), 0.1)) for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
    return [
        (code, (folder / f"rank{rank}.log").read_text(encoding="utf-8", errors="replace"))
        for rank, code in enumerate(codes)
    ]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _environment() -> dict[str, str]:
    """This process's environment without variables of launchers; on CPUs, one thread per rank."""
    launchers = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_SIZE", "MASTER_ADDR", "MASTER_PORT")
    return {
        **{name: value for name, value in os.environ.items() if name not in launchers},
        "PYTHONPATH": str(PROJECT),
        "PATH": f"{BIN}:{os.environ.get('PATH', '')}",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "DS_ACCELERATOR": "cpu",
        # No test compiles, but DeepSpeed loads the compiler, which takes seconds on each rank.
        "TORCHDYNAMO_DISABLE": "1",
    }
