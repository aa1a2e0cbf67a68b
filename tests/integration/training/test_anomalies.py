"""Anomalous steps are recorded, then the training stops, skips the step or rolls back."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

import ptm.engines.base
from ptm.components.objectives.mlm import Mlm
from ptm.errors import EXIT_DONE, TrainingError
from ptm.recipe.blocks import AnomalyBlock
from ptm.train.anomalies import AnomalyDetector
from tests.support.covers import by_default
from tests.support.small_runs import Runs

AT = 9
SPIKES = "sigmas: 6, window: 6"
ENGINES = ("zero0-fp32", "zero1-fp32", "zero3-fp32", "zero0-bf16", "zero1-bf16", "zero2-bf16")
FACTORS = {"nan": math.nan, "spike": 100.0}
# Most engines once, and both kinds of loss in both precisions.
DEFAULT = (
    *(("zero0-fp32", "nan"), ("zero1-fp32", "spike"), ("zero3-fp32", "nan")),
    *(("zero0-bf16", "spike"), ("zero2-bf16", "nan")),
)
Inject = Callable[[float], None]


@pytest.fixture
def inject(monkeypatch: pytest.MonkeyPatch) -> Inject:
    """Multiply the loss of step AT by a factor: its value and its gradients."""
    now = 0
    train_step, sums = ptm.engines.base.Engine.train_step, Mlm.metric_sums
    factors: dict[str, float] = {}

    def noted(self: Any, *arguments: Any, step: int, **options: Any) -> Any:
        nonlocal now
        now = step + 1
        return train_step(self, *arguments, step=step, **options)

    def disturbed(self: Any, outputs: Any, tensors: Any) -> Any:
        found = sums(self, outputs, tensors)
        factor = factors["now"] if now == AT and found["mlm_loss"].requires_grad else 1.0
        return {**found, "mlm_loss": found["mlm_loss"] * factor}

    monkeypatch.setattr(ptm.engines.base.Engine, "train_step", noted)
    monkeypatch.setattr(Mlm, "metric_sums", disturbed)
    return lambda factor: factors.update(now=factor)


def events(runs: Runs, name: str) -> list[dict[str, Any]]:
    text = (runs.folder / name / "events.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def reports(runs: Runs, name: str) -> list[dict[str, Any]]:
    return [record for record in runs.metrics(name) if record["split"] == "train"]


def test_a_loss_of_nan_ends_the_training_with_one_message(runs: Runs, inject: Inject) -> None:
    inject(math.nan)
    with pytest.raises(
        TrainingError, match=r"step 9: the loss is nan.*Step 8 is saved.*policy=skip"
    ):
        runs.train("stopped")
    (event,) = events(runs, "stopped")
    assert (event["step"], event["what"], event["value"]) == (AT, "loss", "nan")
    assert event["action"] == "stop"
    assert len(event["rows"]) == 8
    assert len(event["examples"]) >= 8
    assert "texts" not in event
    assert runs.checkpoints("stopped")[-1] == 8


@pytest.mark.parametrize(
    ("engine", "kind"),
    [by_default((engine, kind), DEFAULT) for engine in ENGINES for kind in FACTORS],
)
def test_a_skipped_step_changes_nothing(runs: Runs, inject: Inject, engine: str, kind: str) -> None:
    deepspeed, _, precision = engine.partition("-")
    options = (
        *(f"engine.deepspeed={deepspeed}", f"engine.precision={precision}"),
        *(f"train.anomalies={{policy: skip, {SPIKES}}}", "tracking.log_every=1"),
    )
    inject(FACTORS[kind])
    assert runs.train("skipped", *options) == EXIT_DONE
    inject(1.0)
    assert runs.train("calm", *options) == EXIT_DONE
    (event,) = events(runs, "skipped")
    assert (event["step"], event["what"], event["action"]) == (AT, "loss", "skip")
    skipped, calm = reports(runs, "skipped"), reports(runs, "calm")
    assert skipped[: AT - 1] == calm[: AT - 1]
    assert [record["skipped_steps"] for record in skipped[AT - 2 :]] == [0, 1, 1, 1, 1]
    # The weights did not change, so the next step has about the loss of an undisturbed run.
    assert skipped[AT]["loss"] == pytest.approx(calm[AT]["loss"], rel=0.05)
    # A step that is skipped measures no gradient norm.
    measured = [record["grad_norm"] is not None for record in skipped]
    assert measured == [step != AT for step in range(1, len(skipped) + 1)]


@pytest.mark.parametrize("factor", FACTORS.values(), ids=FACTORS)
def test_a_rollback_restores_the_weights_and_continues_with_the_next_data(
    runs: Runs, inject: Inject, factor: float
) -> None:
    policy = f"train.anomalies={{policy: rollback, {SPIKES}}}"
    options = (policy, "checkpoint.every=6", "tracking.log_every=1", "model.dropout=0.0")
    inject(factor)
    assert runs.train("back", *options) == EXIT_DONE
    (event,) = events(runs, "back")
    assert event["action"] == "rollback"
    back = reports(runs, "back")
    assert [record["step"] for record in back] == list(range(1, 13))
    # Steps 7 to 9 are lost: the weights are those of step 6.
    assert back[AT]["skipped_steps"] == 3
    state = json.loads((runs.folder / "back/checkpoints/global_step12/run.json").read_text())
    assert (state["updates"], state["skipped"]) == (9, 3)
    assert state["position"]["row"] == 12 * 8


def test_a_rollback_without_a_checkpoint_raises_an_error(runs: Runs, inject: Inject) -> None:
    inject(math.nan)
    policy = "train.anomalies={policy: rollback}"
    with pytest.raises(TrainingError, match="no checkpoint to roll back to"):
        runs.train("none", policy, "checkpoint.every=100")


def test_the_texts_of_a_batch_are_recorded_if_configured(runs: Runs, inject: Inject) -> None:
    inject(math.nan)
    assert runs.train("texts", "train.anomalies={policy: skip, record_text: true}") == EXIT_DONE
    (event,) = events(runs, "texts")
    assert len(event["texts"]) == len(event["examples"])
    assert all(text for text in event["texts"])


def test_a_run_continues_past_an_anomaly_under_another_policy(runs: Runs, inject: Inject) -> None:
    inject(math.nan)
    with pytest.raises(TrainingError):
        runs.train("past")
    assert runs.train("past", "train.anomalies.policy=skip") == EXIT_DONE
    assert [event["action"] for event in events(runs, "past")] == ["skip"]


def test_too_many_anomalies_end_the_training_under_any_policy() -> None:
    watch = AnomalyDetector(AnomalyBlock(policy="skip", limit=2))
    for count in (1, 2, 3):
        assert watch.check(loss=math.nan, grad_norm=None, overflow=True) is not None
        assert watch.exhausted is (count == 3)


def test_a_spike_is_compared_with_normal_previous_steps_only() -> None:
    watch = AnomalyDetector(AnomalyBlock(sigmas=4, window=8))
    losses = [5.0, 5.1, 4.9, 5.0, 5.05, 4.95, 5.0, 5.0]
    assert all(watch.check(loss=x, grad_norm=1.0, overflow=False) is None for x in losses)
    found = watch.check(loss=7.0, grad_norm=1.0, overflow=False)
    assert found is not None
    assert "standard deviations above the mean 5 of the previous steps" in str(found)
    # The spike has not entered the window.
    assert watch.check(loss=7.0, grad_norm=1.0, overflow=False) is not None
    assert watch.check(loss=5.1, grad_norm=50.0, overflow=False).what == "gradient norm"  # type: ignore[union-attr]
    again = AnomalyDetector(AnomalyBlock(sigmas=4, window=8), watch.state())
    assert again.check(loss=7.0, grad_norm=1.0, overflow=False) is not None
    assert again.count == 4


def test_a_falling_loss_is_not_an_anomaly() -> None:
    watch = AnomalyDetector(AnomalyBlock(sigmas=3, window=10))
    for step in range(200):
        assert watch.check(loss=9 * 0.98**step, grad_norm=1.0, overflow=False) is None
