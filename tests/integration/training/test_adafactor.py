"""Adafactor saves factored second moments, and a run resumes from them bit by bit."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import pytest
import torch

from ptm.checkpoint.format import Checkpoint
from ptm.checkpoint.manifest import WEIGHT
from ptm.errors import EXIT_DONE, EXIT_STOPPED
from tests.support.covers import by_default
from tests.support.small_runs import Runs

Calm = Callable[..., list[dict[str, Any]]]
ADAFACTOR = ("engine.deepspeed=zero0", "train.gradient_clipping=0.0")
PLAIN = "optimizer={type: adafactor}"
RICH = (
    "optimizer={type: adafactor, relative_step: false, learning_rate: 1e-2, beta1: 0.9, "
    "weight_decay: 0.01, layer_decay: 0.8}"
)
OPTIMIZERS = {"plain": PLAIN, "rich": RICH}


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        by_default((name, precision), (("plain", "fp32"), ("rich", "bf16"), ("rich", "fp16")))
        for name in OPTIMIZERS
        for precision in ("fp32", "bf16", "fp16")
    ],
)
def test_a_stopped_run_resumes_with_identical_metrics(
    runs: Runs, calm: Calm, name: str, precision: str
) -> None:
    options = (*ADAFACTOR, OPTIMIZERS[name], f"engine.precision={precision}")
    assert runs.train("stopped", *options, stop_at=7) == EXIT_STOPPED
    assert runs.train("stopped", *options) == EXIT_DONE
    expected = calm(*options)
    assert runs.metrics("stopped") == expected
    before, after = (record["loss"] for record in expected if record["split"] == "eval")
    assert after < before


def newest(runs: Runs, name: str) -> Checkpoint:
    return Checkpoint.open(runs.folder / name / "checkpoints" / "global_step4")


def test_a_checkpoint_holds_factored_second_moments_only(runs: Runs) -> None:
    short = ("train.steps=4", "engine.precision=fp32")
    assert runs.train("short", *ADAFACTOR, PLAIN, *short) == EXIT_DONE
    checkpoint = newest(runs, "short")
    for name, shape in checkpoint.shapes.items():
        rest = {"exp_avg_sq_row": shape[:-1], "exp_avg_sq_col": shape[1:]}
        kept = {WEIGHT: shape, **(rest if len(shape) > 1 else {"exp_avg_sq": shape})}
        found = {kind for own, kind in checkpoint.fragments if own == name}
        assert found == kept.keys()
        for kind, of_kind in kept.items():
            assert checkpoint.values(name, kind, 0, prod(of_kind)).any()


def test_the_weights_after_a_stop_equal_those_of_an_undisturbed_run(runs: Runs) -> None:
    short = (*ADAFACTOR, RICH, "train.steps=4", "engine.precision=fp32")
    assert runs.train("calm", *short) == EXIT_DONE
    assert runs.train("stopped", *short, stop_at=2) == EXIT_STOPPED
    assert runs.train("stopped", *short) == EXIT_DONE
    one, other = newest(runs, "calm"), newest(runs, "stopped")
    for name in one.shapes:
        assert torch.equal(one.weights(name), other.weights(name)), name


def test_the_relative_step_size_is_multiplied_by_the_schedule(runs: Runs) -> None:
    warming = "optimizer={type: adafactor, warmup_init: true}"
    short = ("schedule={type: linear, warmup: 0}", "train.steps=4", "tracking.log_every=2")
    assert runs.train("warming", *ADAFACTOR, warming, *short) == EXIT_DONE
    rates = [line["learning_rate"] for line in runs.metrics("warming") if line["split"] == "train"]
    assert rates == pytest.approx([2e-6 * 0.75, 4e-6 * 0.25])
