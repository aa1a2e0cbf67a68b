"""TensorBoard and W&B hold the values of metrics.jsonl."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.plugin_event_accumulator import (
    EventAccumulator as ServedEvents,
)
from tensorboard.util import tensor_util

from ptm.errors import EXIT_DONE, EXIT_STOPPED
from ptm.recipe import Recipe, load_recipe
from ptm.train.metrics import MetricsFile
from ptm.train.samples.record import Sample, SampleRecord, read_samples
from ptm.train.trackers import Trackers, tracker_values
from ptm.train.trackers.base import table_rows
from ptm.train.trackers.metric_names import read_past_reports
from ptm.train.trackers.tensorboard import _cell
from tests.integration.trackers.reading import (
    BOTH,
    RECORD,
    WITHOUT_SAMPLES,
    expected_history,
    expected_scalars,
    history,
    inspected,
    offline_run,
    quick,
    reports,
    run_id,
    scalars,
    split,
    wait_for_the_next_second,
)
from tests.support.faults import Killed
from tests.support.small_runs import Runs


def test_metric_names_begin_with_the_split_or_perf() -> None:
    assert tracker_values(RECORD) == {
        "train/loss": 2.5,
        "perf/tokens_per_second": 100.0,
        "train/tokens": 7.0,
    }


def test_values_that_are_not_finite_are_read_back_as_nan(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.jsonl")
    file.write({**RECORD, "loss": float("inf")})
    file.close()
    ((step, values),) = read_past_reports(tmp_path / "metrics.jsonl")
    assert step == 10
    assert np.isnan(values["train/loss"])
    assert values["train/tokens"] == 7.0


@pytest.mark.parametrize("mode", [None, "offline"])
def test_both_trackers_hold_the_reports_before_and_after_a_stop(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, mode: str | None
) -> None:
    """Without a login, W&B is offline and does not prompt."""
    if mode is not None:
        monkeypatch.setenv("WANDB_MODE", mode)
    folder = runs.folder / "tracked"
    assert runs.train("tracked", *BOTH, WITHOUT_SAMPLES, stop_at=7) == EXIT_STOPPED
    assert [record["step"] for record in reports(folder)] == [5, 6]
    assert scalars(folder) == expected_scalars(folder)
    records = inspected(folder)
    assert history(records) == expected_history(folder)
    before = offline_run(folder)
    first_id = run_id(folder)

    wait_for_the_next_second(folder)
    assert runs.train("tracked", *BOTH, WITHOUT_SAMPLES) == EXIT_DONE
    assert [record["step"] for record in reports(folder)] == [5, 6, 10, 12, 12]
    assert scalars(folder) == expected_scalars(folder)
    records = inspected(folder)
    rows = history(records)
    assert rows == expected_history(folder)
    assert [row["step"] for row in rows] == [5, 6, 10, 12]
    assert run_id(folder) == first_id
    assert first_id in offline_run(folder).name
    assert not before.exists() or before == offline_run(folder)

    (run,) = (record["run"] for record in records if record["type"] == "run")
    recipe = load_recipe(*split(runs.arguments("tracked", *BOTH, WITHOUT_SAMPLES)))
    config = {k: v for k, v in run["config"]["update"].items() if k != "_wandb"}
    assert config == recipe.model_dump(mode="json")
    assert (run["run_id"], run["project"]) == (first_id, "test")
    metrics = [record["metric"] for record in records if record["type"] == "metric"]
    assert {m.get("step_metric") for m in metrics if m.get("glob_name") == "*"} == {"step"}
    gathered = {"stats", "output", "output_raw", "files", "artifact", "environment"}
    assert not gathered & {record["type"] for record in records}
    assert not list(offline_run(folder).glob("files/*"))


def test_points_after_the_checkpoint_are_superseded_on_resume(runs: Runs) -> None:
    folder = runs.folder / "killed"
    with pytest.raises(Killed):
        runs.train("killed", *BOTH, "tracking.log_every=3", die_at=11)
    assert [record["step"] for record in reports(folder)] == [3, 6, 6, 9]
    assert [step for step, _ in scalars(folder)["train/loss"]] == [3, 6, 9]
    assert [row["step"] for row in history(inspected(folder))] == [3, 6, 9]
    first_id = run_id(folder)

    # The resumed run reports at other steps: no report replaces that of step 9, which must vanish.
    wait_for_the_next_second(folder)
    assert runs.train("killed", *BOTH, "tracking.log_every=2") == EXIT_DONE
    assert [record["step"] for record in reports(folder)] == [3, 6, 6, 10, 12, 12]
    assert scalars(folder) == expected_scalars(folder)
    assert history(inspected(folder)) == expected_history(folder)
    assert run_id(folder) == first_id


KILLED = """
import os, signal, sys, time
from pathlib import Path
from ptm.recipe import load_recipe
from ptm.train.run import train

def kill(step):
    if step == 11:
        end = time.monotonic() + 60
        # W&B starts on its own thread: killed before that, it would have written nothing.
        while not list(Path(sys.argv[1]).glob("wandb/offline-run-*/run-*.wandb")):
            assert time.monotonic() < end, "W&B has not started"
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGKILL)

train(lambda: load_recipe(sys.argv[2], sys.argv[3:]), fresh=False, on_step_begin=kill)
"""


@pytest.mark.slow
def test_both_trackers_are_complete_again_after_a_real_kill(runs: Runs) -> None:
    """W&B writes offline runs in blocks of 32 KiB: until the next start, all may be missing."""
    folder = runs.folder / "killed"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), *runs.arguments("killed", *BOTH)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [record["step"] for record in reports(folder)] == [5, 6, 10]
    assert scalars(folder) == expected_scalars(folder)
    first_id = run_id(folder)
    assert runs.train("killed", *BOTH, "tracking.log_every=3") == EXIT_DONE
    assert [record["step"] for record in reports(folder)] == [5, 6, 9, 12, 12]
    assert scalars(folder) == expected_scalars(folder)
    assert history(inspected(folder)) == expected_history(folder)
    assert run_id(folder) == first_id


def test_trackers_enabled_later_receive_the_earlier_reports(runs: Runs) -> None:
    folder = runs.folder / "later"
    assert runs.train("later", stop_at=7) == EXIT_STOPPED
    assert runs.train("later", *BOTH) == EXIT_DONE
    assert scalars(folder) == expected_scalars(folder)
    assert history(inspected(folder)) == expected_history(folder)


def test_reports_that_are_not_finite_are_shown_and_read_back(
    recipe: Recipe, tmp_path: Path
) -> None:
    trackers = Trackers(recipe, tmp_path)
    file = MetricsFile(tmp_path / "metrics.jsonl")
    for step, loss in ((5, float("nan")), (10, float("inf")), (15, 1.0)):
        file.write({**RECORD, "step": step, "loss": loss})
        trackers.log({**RECORD, "step": step, "loss": loss})
    trackers.close()
    file.close()
    shown = [value for _, value in scalars(tmp_path)["train/loss"]]
    assert np.array_equal(shown, [np.nan, np.inf, 1.0], equal_nan=True)
    assert [row["train/loss"] for row in history(inspected(tmp_path))] == ["NaN", "Infinity", 1]
    Trackers(recipe, tmp_path).close()
    assert history(inspected(tmp_path)) == expected_history(tmp_path)


def test_an_evaluation_without_a_waiting_row_is_not_lost(recipe: Recipe, tmp_path: Path) -> None:
    trackers = Trackers(quick(recipe), tmp_path)
    trackers.log({**RECORD, "step": 5})
    trackers.log({"step": 5, "split": "eval", "loss": 3.0})
    trackers.log({**RECORD, "step": 10})
    trackers.close()
    rows = history(inspected(tmp_path))
    assert [row["step"] for row in rows] == [5, 5, 10]
    assert rows[1]["eval/loss"] == 3


def text_summaries(folder: Path) -> dict[int, str]:
    events = ServedEvents(str(folder / "tensorboard"), size_guidance={"tensors": 0})
    events.Reload()
    return {
        point.step: tensor_util.make_ndarray(point.tensor_proto)[0].decode()
        for point in events.Tensors("samples/eval/text_summary")
    }


def test_samples_are_tables_of_their_steps_before_and_after_a_stop(runs: Runs) -> None:
    folder = runs.folder / "tracked"
    sampled = (*BOTH, "tracking.samples=4")
    assert runs.train("tracked", *sampled, stop_at=7) == EXIT_STOPPED
    wait_for_the_next_second(folder)
    assert runs.train("tracked", *sampled) == EXIT_DONE
    written = read_samples(folder)
    assert [one.step for one in written] == [6, 12]
    rows = [r["history"]["item"] for r in inspected(folder) if r["type"] == "history"]
    key = "samples/eval.path"
    tables = {row["step"]: row[key] for row in rows if key in row}
    shown = text_summaries(folder)
    assert sorted(tables) == sorted(shown) == [6, 12]
    for record in written:
        file = offline_run(folder) / "files" / tables[record.step]
        table = json.loads(file.read_text(encoding="utf-8"))
        assert table["columns"] == ["step", "sample", "text", "predicted", "expected"]
        assert table["data"] == [
            [record.step, number, one.text, one.predicted_text, one.expected_text]
            for number, one in enumerate(record.samples, start=1)
        ]
        assert len(table["data"]) == 4
        lines = shown[record.step].splitlines()
        assert lines[0] == "| sample | text | predicted | expected |"
        assert len(lines) == 2 + 4
        assert record.samples[0].text[:5] in lines[2]
    # The folder of the first start, with its table, was removed.
    assert len(list((folder / "wandb").glob("offline-run-*"))) == 1


def test_a_cell_of_a_text_keeps_the_characters_of_markdown_and_html() -> None:
    record = SampleRecord(
        step=1,
        evaluation="eval",
        samples=(Sample(text="a|b <i>\n*c*", expected=("x",), predicted=("y",)),),
    )
    assert _cell(table_rows(record)[0][1]) == "a\\|b &lt;i&gt;<br>\\*c\\*"
