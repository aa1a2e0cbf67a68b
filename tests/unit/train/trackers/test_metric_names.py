"""Names of reported values in W&B and TensorBoard."""

from __future__ import annotations

from ptm.train.trackers.metric_names import tracker_values

COUNTS = {"step": 5, "epoch": 1, "rows": 40, "examples": 70, "tokens": 900}


def test_progress_is_part_of_the_training_alone() -> None:
    record = {**COUNTS, "loss": 2.5}
    assert tracker_values({**record, "split": "train"}) == {
        "train/loss": 2.5,
        "train/epoch": 1,
        "train/rows": 40,
        "train/examples": 70,
        "train/tokens": 900,
    }
    assert tracker_values({**record, "split": "news"}) == {"news/loss": 2.5}
