"""A stopped training of two ranks resumes with the metrics of an uninterrupted one."""

from __future__ import annotations

import pytest

from ptm.checkpoint.format import Checkpoint
from ptm.errors import EXIT_DONE, EXIT_STOPPED
from tests.integration.engines.trainings import RESUMED, STOPPED_AT
from tests.support.covers import by_default
from tests.support.launched import Launch

DEFAULT = ("zero1", "fp16", "zero3", "stages2")


@pytest.mark.parametrize("name", [by_default(name, DEFAULT) for name in RESUMED])
def test_all_ranks_stop_at_the_step_at_which_one_is_stopped_and_resume(
    two_ranks: Launch, name: str
) -> None:
    run = f"stopped-{name}"
    assert two_ranks.codes(run) == [[EXIT_STOPPED] * 2, [EXIT_DONE] * 2]
    saved = sorted(path.name for path in (two_ranks.runs / run / "checkpoints").glob("global_*"))
    assert saved == sorted(f"global_step{step}" for step in (STOPPED_AT[name], 10))


@pytest.mark.parametrize("name", [by_default(name, DEFAULT) for name in RESUMED])
def test_a_stopped_training_reports_the_metrics_of_an_uninterrupted_one(
    two_ranks: Launch, name: str
) -> None:
    assert two_ranks.metrics(f"stopped-{name}") == two_ranks.metrics(f"calm-{name}")


def test_dropout_depends_on_the_layout(two_ranks: Launch) -> None:
    """Makes sure that the comparison above covers dropout."""
    one, other = (two_ranks.metrics(f"calm-{name}") for name in ("zero1", "stages2"))
    assert one[0]["loss"] != pytest.approx(other[0]["loss"], rel=1e-5)


def test_the_fp16_loss_scale_is_restored_while_it_is_falling(two_ranks: Launch) -> None:
    folder = two_ranks.runs / "stopped-fp16" / "checkpoints" / f"global_step{STOPPED_AT['fp16']}"
    run = Checkpoint.open(folder).run
    last = [one for one in two_ranks.metrics("calm-fp16") if one["split"] == "train"][-1]
    assert 0 < run["skipped"] < last["skipped_steps"]
    assert run["scaler"]["cur_scale"] > last["loss_scale"]
    assert last["skipped_steps"] < last["step"]
