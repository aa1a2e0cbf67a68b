"""Runs side by side: the keys of their recipes that differ, and metrics at common steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptm.errors import UserError
from ptm.runs.compare import Series, common_steps, compare
from tests.support.run_folders import write_run


def records(*steps: int, loss: float) -> list[dict[str, object]]:
    return [
        record
        for step in steps
        for record in (
            {"step": step, "split": "train", "loss": loss / step, "grad_norm": 1.0},
            {"step": step, "split": "eval", "loss": loss / step + 1, "mlm_accuracy": 0.5},
        )
    ]


def test_what_differs_is_listed_and_nothing_else(tmp_path: Path) -> None:
    first = write_run(tmp_path / "a", records=records(10, 20, loss=40))
    second = write_run(
        tmp_path / "b",
        "optimizer.learning_rate=1e-3",
        "train.early_stopping={metric: loss, patience: 3}",
        records=records(10, 30, loss=60),
    )
    found = compare([first, second])
    assert {one.key: one.values for one in found.differences} == {
        "optimizer.learning_rate": ("0.003", "0.001"),
        "train.early_stopping.metric": (None, '"loss"'),
        "train.early_stopping.patience": (None, "3"),
        "train.early_stopping.min_delta": (None, "0.0"),
    }
    assert [(one.split, one.metric) for one in found.series] == [
        ("train", "loss"),
        ("eval", "loss"),
        ("eval", "mlm_accuracy"),
    ]
    train = found.series[0]
    assert common_steps(train, most=8) == [10]
    assert train.at([10, 20]) == [(10, (4.0, 6.0)), (20, (2.0, None))]


def test_steps_are_spread_evenly_with_the_last_one() -> None:
    values = dict.fromkeys(range(1, 101), 1.0)
    found = common_steps(Series("train", "loss", (values, values)), most=4)
    assert found == [1, 34, 67, 100]


def test_without_common_steps_all_are_shown() -> None:
    series = Series("eval", "loss", ({1: 1.0}, {2: 1.0}, {}))
    assert common_steps(series, most=8) == [1, 2]


def test_two_different_runs_are_needed(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a")
    with pytest.raises(UserError, match="at least two different runs"):
        compare([run, tmp_path / "." / "a"])
    with pytest.raises(UserError, match="is not a run"):
        compare([run, tmp_path])
