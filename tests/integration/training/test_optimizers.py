"""Lion, LAMB, StableAdamW and Muon: states in checkpoints, exact resuming, ZeRO stages."""

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
OPTIMIZERS = {
    "lion": "optimizer={type: lion, learning_rate: 1e-4, weight_decay: 0.1}",
    "lamb": "optimizer={type: lamb, learning_rate: 1e-2, layer_decay: 0.8}",
    "stable_adamw": "optimizer={type: stable_adamw, learning_rate: 1e-3}",
    "muon": "optimizer={type: muon, learning_rate: 1e-3}",
}
ZERO0 = "engine.deepspeed=zero0"
DROPOUT = "model.dropout=0.1"
MOMENTS = {"exp_avg", "exp_avg_sq"}
STATES = {"lion": {"exp_avg"}, "lamb": MOMENTS, "stable_adamw": MOMENTS}


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        by_default(
            (name, precision),
            (("lion", "bf16"), ("lamb", "fp32"), ("stable_adamw", "bf16"), ("muon", "fp16")),
        )
        for name in OPTIMIZERS
        for precision in ("fp32", "bf16", "fp16")
    ],
)
def test_a_stopped_run_resumes_with_identical_metrics(
    runs: Runs, calm: Calm, name: str, precision: str
) -> None:
    # With the default initial loss scale of fp16, all of these few steps would be skipped.
    scale = "engine.loss_scale.initial_power=8"
    options = (ZERO0, OPTIMIZERS[name], DROPOUT, f"engine.precision={precision}", scale)
    assert runs.train("stopped", *options, stop_at=7) == EXIT_STOPPED
    assert runs.train("stopped", *options) == EXIT_DONE
    expected = calm(*options)
    assert runs.metrics("stopped") == expected
    assert all(record["skipped_steps"] == 0 for record in expected if record["split"] == "train")
    before, after = (record["loss"] for record in expected if record["split"] == "eval")
    assert after < before


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_states_and_weights_after_a_stop_are_those_of_an_undisturbed_run(
    runs: Runs, name: str
) -> None:
    short = (ZERO0, OPTIMIZERS[name], DROPOUT, "train.steps=4")
    assert runs.train("calm", *short) == EXIT_DONE
    assert runs.train("stopped", *short, stop_at=2) == EXIT_STOPPED
    assert runs.train("stopped", *short) == EXIT_DONE
    one, other = (
        Checkpoint.open(runs.folder / run / "checkpoints" / "global_step4")
        for run in ("calm", "stopped")
    )
    for parameter, shape in one.shapes.items():
        hidden = parameter.startswith("encoder_") and len(shape) > 1
        states = STATES.get(name) or ({"momentum_buffer"} if hidden else MOMENTS)
        kinds = {kind for own, kind in one.fragments if own == parameter}
        assert kinds == {WEIGHT, *states}, parameter
        for kind in kinds:
            values = one.values(parameter, kind, 0, prod(shape))
            assert values.any()
            assert torch.equal(values, other.values(parameter, kind, 0, prod(shape))), parameter


@pytest.mark.parametrize(
    "engines",
    ["zero0 zero3 zero1 zero2 zero0", "zero1 zero2-offload zero3 zero3-offload zero0"],
    ids=["stages", "offload"],
)
def test_lion_resumes_under_another_stage_with_equal_losses(
    runs: Runs, calm: Calm, engines: str
) -> None:
    quiet = (OPTIMIZERS["lion"], "model.dropout=0.0", "data.held_out=0", "checkpoint.every=100")
    changes = [(f"engine.deepspeed={engine}",) for engine in engines.split()]
    found = runs.change_at_every_step("moved", changes, *quiet)
    expected = calm(*quiet, ZERO0, "train.steps=5", "tracking.log_every=1")
    for record, other in zip(found, expected, strict=True):
        for metric in ("loss", "grad_norm"):
            assert record[metric] == pytest.approx(other[metric], rel=1e-5)
