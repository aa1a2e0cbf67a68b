"""bf16 and fp16 stay close to fp32 at every stage, and fp16's loss scale settles."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import pytest

import ptm.engines.zero
from ptm.errors import EXIT_DONE, EXIT_FAULT
from ptm.recipe import load_recipe
from ptm.train.run import train
from tests.integration.engines.comparing import Reports, differences
from tests.integration.engines.trainings import CLIPPED, HALF, SETTLED, exact, zero
from tests.support.launched import Launch, reports

BANDS = {
    # Relative differences from fp32. Measured loss and grad_norm: bf16 2.2e-4 and 6e-3,
    # fp16 3e-5 and 5e-4.
    "bf16": {"loss": 1e-3, "grad_norm": 2e-2},
    "fp16": {"loss": 1e-4, "grad_norm": 2e-3},
}


def within(found: Reports, expected: Reports, precision: str) -> bool:
    worst = differences(found, expected)
    return all(worst[key] <= apart for key, apart in BANDS[precision].items())


def near(found: Reports, expected: Reports, precision: str) -> None:
    worst = differences(found, expected)
    assert within(found, expected, precision), {key: worst[key] for key in BANDS[precision]}
    assert worst["tokens"] == worst["skipped_steps"] == 0
    # Really in half precision.
    assert worst["grad_norm"] > 1e-5


@pytest.mark.parametrize("precision", HALF)
@pytest.mark.parametrize("stage", range(4))
def test_half_precision_is_close_to_fp32_at_every_stage(
    one_rank: Launch, stage: int, precision: str
) -> None:
    found = one_rank.metrics(f"alone-{precision}-zero{stage}")
    near(found, one_rank.metrics("alone"), precision)


@pytest.mark.parametrize("precision", HALF)
@pytest.mark.parametrize("engine", ["zero3", "stages2"])
def test_half_precision_is_close_to_fp32_on_two_ranks(
    one_rank: Launch, two_ranks: Launch, engine: str, precision: str
) -> None:
    near(two_ranks.metrics(f"{precision}-{engine}"), one_rank.metrics("alone"), precision)


@pytest.mark.parametrize("stage", [0, 1])
def test_fp16_clips_as_fp32_does(one_rank: Launch, stage: int) -> None:
    found = one_rank.metrics(f"alone-fp16-clipped-zero{stage}")
    near(found, one_rank.metrics("alone-clipped"), "fp16")


def test_fp16_clips_alike_at_stages_0_and_1(one_rank: Launch) -> None:
    one, other = (one_rank.metrics(f"alone-fp16-clipped-zero{stage}") for stage in (0, 1))
    assert within(one, other, "fp16")


def test_without_missing_loss_scale_fp16_at_stage_0_clips_wrongly(
    one_rank: Launch, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ptm.engines.zero, "Fp16LossScaleFix", lambda *_, **__: None)
    faulty = exact("faulty", zero(0), *HALF["fp16"], *CLIPPED)
    recipe, *overrides = faulty.arguments(store, tmp_path)
    assert train(lambda: load_recipe(recipe, overrides), fresh=False) == EXIT_DONE
    assert not within(reports(tmp_path / "faulty"), one_rank.metrics("alone-clipped"), "fp16")


def steps_of(reports: Reports) -> Reports:
    return [one for one in reports if one["split"] == "train"]


def the_scale_settles(found: Reports, *, hysteresis: int) -> None:
    """Assert that the scale falls from 2**28 until nothing overflows, and no further."""
    steps = steps_of(found)
    scales = [one["loss_scale"] for one in steps]
    skipped = [one["skipped_steps"] for one in steps]
    falling = sum(count == step for step, count in enumerate(skipped, 1))
    assert falling > 8
    # Later, at most two steps with larger gradients overflow.
    assert skipped[-1] <= falling + 2 < SETTLED - 4
    assert skipped[-3:] == [skipped[-1]] * 3
    # With hysteresis the first overflow does not halve the scale.
    assert scales == [2.0 ** (27 + hysteresis - count) for count in skipped]
    assert all(math.isfinite(one["loss"]) for one in steps)
    # A step that is skipped measures no gradient norm.
    unmeasured = [one["grad_norm"] is None for one in steps]
    assert unmeasured == [after > before for before, after in pairwise([0, *skipped])]
    # The first evaluation is before any update, the second after some, on the same rows.
    before, after = (one["loss"] for one in found if one["split"] == "eval")
    assert after < before


@pytest.mark.parametrize("stage", [0, 1, 3])
def test_an_overflow_is_skipped_and_the_scale_settles(one_rank: Launch, stage: int) -> None:
    the_scale_settles(one_rank.metrics(f"alone-overflow-zero{stage}"), hysteresis=2 if stage else 1)


def test_an_overflow_in_one_of_two_stages_is_skipped_by_both(
    one_rank: Launch, two_ranks: Launch
) -> None:
    found = two_ranks.metrics("overflow-stages2")
    the_scale_settles(found, hysteresis=2)
    alone = one_rank.metrics("alone-overflow-zero1")
    for key in ("loss_scale", "skipped_steps"):
        assert [one[key] for one in steps_of(found)] == [one[key] for one in steps_of(alone)]


def test_stage_0_has_no_hysteresis(one_rank: Launch) -> None:
    last = [steps_of(one_rank.metrics(f"alone-overflow-zero{stage}"))[-1] for stage in (0, 1, 3)]
    assert len({one["loss_scale"] for one in last}) == 1
    skipped = [one["skipped_steps"] for one in last]
    assert skipped == [skipped[1] - 1, skipped[1], skipped[1]]


@pytest.mark.parametrize("stage", [0, 1])
def test_an_overflow_at_the_minimum_scale_ends_the_training(one_rank: Launch, stage: int) -> None:
    name = f"alone-floor-zero{stage}"
    assert one_rank.codes(name) == [[EXIT_FAULT]]
    (((ended,),)) = one_rank.ended(name)
    assert ended.message.startswith("step 1: fp16 gradients overflow even at the minimum")
    assert "2.68435e+08" in ended.message
    assert "engine.precision: bf16" in ended.message
