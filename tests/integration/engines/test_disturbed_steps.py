"""An abnormal loss under every `train.anomalies` policy, on two ranks and across two stages."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from tests.integration.engines.trainings import ABNORMAL_STEP
from tests.support.launched import Launch, reports

ENGINES = ("zero2", "stages2")


def event(launch: Launch, name: str) -> dict[str, Any]:
    (line,) = (launch.runs / name / "events.jsonl").read_text(encoding="utf-8").splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def trained(launch: Launch, name: str) -> list[dict[str, Any]]:
    return [one for one in reports(launch.runs / name) if one["split"] == "train"]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["skip-nan", "skip-spike"])
def test_a_skipped_step_changes_no_weight_on_any_rank(
    two_ranks: Launch, engine: str, kind: str
) -> None:
    name = f"{kind}-{engine}"
    assert two_ranks.codes(name) == [[0, 0]]
    found = event(two_ranks, name)
    assert (found["step"], found["what"], found["action"]) == (ABNORMAL_STEP, "loss", "skip")
    records = trained(two_ranks, name)
    assert [one["skipped_steps"] for one in records[ABNORMAL_STEP - 2 :]] == [0, 1, 1, 1]
    after = records[ABNORMAL_STEP]["loss"]
    assert math.isfinite(after)
    assert after == pytest.approx(records[ABNORMAL_STEP - 2]["loss"], rel=0.15)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_rollback_happens_on_all_ranks(two_ranks: Launch, engine: str) -> None:
    name = f"rollback-nan-{engine}"
    assert two_ranks.codes(name) == [[0, 0]]
    assert event(two_ranks, name)["action"] == "rollback"
    # Steps 5 to 8 are lost: the weights are back at step 4.
    assert trained(two_ranks, name)[ABNORMAL_STEP]["skipped_steps"] == 4


@pytest.mark.parametrize("engine", ENGINES)
def test_a_stop_ends_all_ranks_with_the_same_message(two_ranks: Launch, engine: str) -> None:
    name = f"stop-nan-{engine}"
    assert two_ranks.codes(name) == [[1, 1]]
    ((first, second),) = two_ranks.ended(name)
    assert first.message == second.message
    assert first.message.startswith(f"step {ABNORMAL_STEP}: the loss is nan")
    assert "Step 4 is saved" in first.message
