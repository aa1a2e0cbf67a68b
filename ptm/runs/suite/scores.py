"""Results of the runs of a suite as files, and their table."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from ptm.errors import UserError
from ptm.files.reading import MEGABYTE, FileContentError, reason_of
from ptm.files.records import read_json
from ptm.files.writing import write_file
from ptm.runs.suite.tasks import Task

_COLUMNS = ("task", "set", "metric", "mean", "deviation", "seeds", "seconds")


class RunScore(BaseModel):
    """The result of one run, or how long it has been training."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    fingerprint: str
    seconds: float
    """Of training, all starts together."""
    metrics: dict[str, float | None] | None = None
    """Those of `ptm evaluate`, of every set; None until the run is done."""


class ScoreFiles:
    """One file per run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, task: Task, seed: int) -> Path:
        return self._folder / f"{task.run_name(seed)}.json"

    def exist(self, task: Task, seed: int) -> bool:
        """Whether a run has a result, finished or not."""
        return self._path(task, seed).exists()

    def read(self, task: Task, seed: int) -> RunScore:
        """The result of a run; one without seconds if it has not started.

        Raises UserError if the file is damaged, or the result is that of another recipe or model.
        """
        path, fingerprint = self._path(task, seed), task.fingerprint(seed)
        try:
            found = read_json(path, RunScore, limit=MEGABYTE)
        except FileNotFoundError:
            return RunScore(fingerprint=fingerprint, seconds=0.0)
        except (OSError, FileContentError) as error:
            raise UserError(
                f"{path}: the file is damaged: {reason_of(error)}. Remove it; the run is then "
                "evaluated again."
            ) from error
        if found.fingerprint != fingerprint:
            raise UserError(
                f"{path}: the result is that of another recipe, of other overrides or of another "
                "model. Set another folder with --out, or remove this one."
            )
        return found

    def write(self, task: Task, seed: int, score: RunScore) -> None:
        """Write the result of a run."""
        self._folder.mkdir(parents=True, exist_ok=True)
        write_file(self._path(task, seed), score.model_dump_json() + "\n")


@dataclass(frozen=True)
class TaskResult:
    """The results of the finished runs of a task, by seed."""

    task: Task
    scores: Mapping[int, RunScore]

    @property
    def values(self) -> list[float]:
        """The score of each seed."""
        every = ((one.metrics or {}).get(self.task.key) for one in self.scores.values())
        return [value for value in every if value is not None]

    @property
    def mean(self) -> float | None:
        """None without a score."""
        return statistics.mean(self.values) if self.values else None

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation; None with fewer than two seeds."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def seconds(self) -> float:
        """Of training, all seeds together."""
        return sum(one.seconds for one in self.scores.values())

    @property
    def cells(self) -> tuple[str, ...]:
        """The line of the table."""
        task = self.task
        return (
            *(task.name, task.evaluation, task.metric, _shown(self.mean), _shown(self.deviation)),
            *(str(len(self.values)), f"{self.seconds:.0f}"),
        )

    def as_json(self) -> dict[str, Any]:
        """The line of the table as an object, with every metric of every seed."""
        task = self.task
        return {
            "task": task.name,
            "recipe": task.path,
            "set": task.evaluation,
            "metric": task.metric,
            "mean": self.mean,
            "deviation": self.deviation,
            "seconds": self.seconds,
            "seeds": {str(seed): one.metrics for seed, one in self.scores.items()},
        }


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def mean_over_tasks(results: Sequence[TaskResult]) -> float | None:
    """The mean of the means of the tasks whose higher scores are better; None without them."""
    means = [one.mean for one in results if one.mean is not None and one.task.higher_is_better]
    return statistics.mean(means) if means else None


def table(results: Sequence[TaskResult]) -> list[tuple[str, ...]]:
    """The rows of the table: the names of the columns, a row per task, and the mean."""
    seconds = f"{sum(one.seconds for one in results):.0f}"
    seeds = str(sum(len(one.values) for one in results))
    last = ("mean", "", "", _shown(mean_over_tasks(results)), "", seeds, seconds)
    return [_COLUMNS, *(one.cells for one in results), last]


def as_lines(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The table for a terminal; numbers are aligned at their ends."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.ljust(width) if index < _TEXTS else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


_TEXTS = 3
"""Columns of the table that are texts."""


def write_tables(folder: Path, results: Sequence[TaskResult], *, model: str) -> None:
    """Write results.json, results.tsv and results.md."""
    rows = table(results)
    data = {
        "model": model,
        "mean": mean_over_tasks(results),
        "tasks": [one.as_json() for one in results],
    }
    write_file(folder / "results.json", json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    write_file(folder / "results.tsv", "".join("\t".join(row) + "\n" for row in rows))
    write_file(folder / "results.md", "".join(f"{line}\n" for line in _markdown(rows)))


def _markdown(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for number, row in enumerate(rows):
        yield f"| {' | '.join(row)} |"
        if number == 0:
            yield f"|{'---|' * _TEXTS}{'---:|' * (len(row) - _TEXTS)}"
