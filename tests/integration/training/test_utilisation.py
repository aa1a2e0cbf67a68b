"""`mfu`, `hfu` and `model_tflops` in metrics.jsonl."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ptm.errors import EXIT_DONE
from tests.support.small_runs import Runs

PEAK = 0.5


def reports_of(runs: Runs, name: str) -> list[dict[str, Any]]:
    """The reports of the training, with what depends on the clock."""
    lines = (runs.folder / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [record for record in map(json.loads, lines) if record["split"] == "train"]


def test_the_shares_are_the_rate_divided_by_the_peak(runs: Runs) -> None:
    peak = f"engine.peak_tflops={PEAK}"
    recomputed = "engine.activation_checkpointing=true"
    assert runs.train("plain", peak) == EXIT_DONE
    assert runs.train("recomputed", peak, recomputed) == EXIT_DONE
    for name in ("plain", "recomputed"):
        for record in reports_of(runs, name):
            assert 0 < record["model_tflops"] < 10
            assert record["mfu"] == pytest.approx(record["model_tflops"] / PEAK, abs=1e-4)
            assert ("hfu" in record) == (name == "recomputed")
    # One more forward pass of the blocks: less than a third more.
    for record in reports_of(runs, "recomputed"):
        assert record["mfu"] < record["hfu"] < 4 / 3 * record["mfu"] + 2e-4


def test_without_a_known_peak_there_is_only_the_rate(runs: Runs) -> None:
    assert runs.train("run") == EXIT_DONE
    record = reports_of(runs, "run")[0]
    assert "model_tflops" in record
    assert "mfu" not in record
