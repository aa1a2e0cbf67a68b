"""Runs the tasks of a suite: preprocesses, trains each seed, evaluates, and writes the table."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path

from ptm.checkpoint.format import checkpoint_folders
from ptm.errors import (
    EXIT_DONE,
    EXIT_FAULT,
    EXIT_USER,
    STOPPED_CODES,
    UserError,
)
from ptm.files.kinds import CHECKPOINT
from ptm.files.locks import open_lock
from ptm.files.ownership import remove_folder
from ptm.runs.suite.processes import Commands
from ptm.runs.suite.scores import RunScore, ScoreFiles, TaskResult, write_tables
from ptm.runs.suite.tasks import Plan, Task
from ptm.train.run_folder import RunFolder, RunInUseError

_WAIT_SECONDS = 600.0


@dataclass(frozen=True)
class Running:
    """How the trainings of a suite run.

    `launch`: options of `ptm launch`; None: each training is one process of this machine.
    """

    launch: tuple[str, ...] | None = None
    keep_going: bool = False
    keep_checkpoints: bool = True


class Suite:
    """The tasks of a suite in its folder, which one process uses at a time."""

    def __init__(
        self, tasks: Sequence[Task], plan: Plan, how: Running, echo: Callable[[str], None]
    ) -> None:
        """`echo` is called with each line about the progress."""
        self._tasks = tasks
        self._plan = plan
        self._how = how
        self._echo = echo
        self._scores = ScoreFiles(plan.folder / "scores")
        self._failed: dict[str, int] = {}

    def results(self) -> list[TaskResult]:
        """The results so far. Raises UserError if some are those of other recipes."""
        return [TaskResult(task, self._finished(task)) for task in self._tasks]

    def _finished(self, task: Task) -> Mapping[int, RunScore]:
        # An earlier call may have had more seeds: their results stay in the table.
        more = takewhile(lambda seed: self._scores.exist(task, seed), count(self._plan.seeds + 1))
        every = {seed: self._scores.read(task, seed) for seed in (*self._seeds, *more)}
        return {seed: one for seed, one in every.items() if one.metrics is not None}

    @property
    def _seeds(self) -> range:
        return range(1, self._plan.seeds + 1)

    def run(self) -> int:
        """Run what is left; return the exit code. The same call continues after any end.

        It is that of the command that failed or was stopped; with `keep_going`, EXIT_FAULT if any
        failed. Raises UserError if another process runs the suite.
        """
        self._plan.folder.mkdir(parents=True, exist_ok=True)
        with _locked(self._plan.folder / "lock"), Commands() as commands:
            self._write()
            for number, task in enumerate(self._tasks, start=1):
                place = f"task {number} of {len(self._tasks)}: {task.name}"
                code = self._run_task(commands, task, place)
                if code in STOPPED_CODES or commands.code is not None:
                    return code if commands.code is None else commands.code
                if code != EXIT_DONE:
                    self._failed[task.name] = code
                    if not self._how.keep_going:
                        return code
        return EXIT_FAULT if self._failed else EXIT_DONE

    @property
    def failed(self) -> Mapping[str, int]:
        """The exit code of each task that failed."""
        return self._failed

    def _write(self) -> None:
        write_tables(self._plan.folder, self.results(), model=self._plan.model)

    def _run_task(self, commands: Commands, task: Task, place: str) -> int:
        """Run the seeds that are left; return the exit code. `place`: the task in messages."""
        left = [seed for seed in self._seeds if seed not in self._finished(task)]
        if not left:
            self._echo(f"{place}: done already")
        if left and not task.has_stores:
            self._echo(f"{place}: preprocessing")
            code = commands.run(["preprocess", *task.arguments(left[0])])
            if code != EXIT_DONE:
                return code
        for seed in left:
            self._echo(f"{place}: seed {seed} of {self._plan.seeds}")
            code = self._train(commands, task, seed)
            if code == EXIT_DONE:
                code = self._evaluate(commands, task, seed)
            if code != EXIT_DONE:
                return code
        return EXIT_DONE

    def _train(self, commands: Commands, task: Task, seed: int) -> int:
        self._wait_for_run(commands, task, seed)
        before = self._scores.read(task, seed)

        def record(seconds: float) -> None:
            score = before.model_copy(update={"seconds": before.seconds + seconds})
            self._scores.write(task, seed, score)

        start = ["train"] if self._how.launch is None else ["launch", *self._how.launch]
        return commands.run([*start, *task.arguments(seed)], on_wait=record)

    def _wait_for_run(self, commands: Commands, task: Task, seed: int) -> None:
        """Wait while a training of a killed suite saves. Raises UserError after ten minutes."""
        end = time.monotonic() + _WAIT_SECONDS
        while commands.code is None:
            try:
                RunFolder(task.run_recipe(seed)).check_writable(fresh=False)
            except RunInUseError:
                if time.monotonic() > end:
                    raise
                time.sleep(1.0)
            else:
                return

    def _evaluate(self, commands: Commands, task: Task, seed: int) -> int:
        run = RunFolder(task.run_recipe(seed)).path
        code, printed = commands.output(["evaluate", str(run), "--step", "best", "--json"])
        if code != EXIT_DONE:
            return code
        found = json.loads(printed)
        metrics = {
            key: value
            for key, value in found.items()
            if value is None or (isinstance(value, int | float) and not isinstance(value, bool))
        }
        if metrics.get(task.key) is None:
            self._echo(f"{task.name}: {task.key} was not measured")
            return EXIT_USER
        before = self._scores.read(task, seed)
        self._scores.write(task, seed, before.model_copy(update={"metrics": metrics}))
        self._write()
        self._echo(f"{task.name}: seed {seed}: {task.key} {metrics[task.key]:.4f}")
        if not self._how.keep_checkpoints:
            for folder in checkpoint_folders(run / "checkpoints"):
                remove_folder(folder, CHECKPOINT)
        return EXIT_DONE


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of a suite. Raises UserError if another process holds it."""
    with open_lock(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(
                f"{path.parent}: another `ptm suite` is using this folder. Wait for it, or set "
                "another folder with --out."
            ) from error
        yield
