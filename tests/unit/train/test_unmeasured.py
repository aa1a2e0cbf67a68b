"""Metrics over nothing are null: not 0, which would be taken for a perfect result."""

from __future__ import annotations

import math

import pytest
import torch

from ptm.components.objectives.mlm import Mlm
from ptm.engines.base import StepResult
from ptm.engines.loss import unmeasured_metrics
from ptm.engines.metric_sums import metric_means
from ptm.engines.ranks import Ranks
from ptm.recipe.blocks import AnomalyBlock, EarlyStopping
from ptm.train.anomalies import AnomalyDetector
from ptm.train.metrics import MetricWindow, console_line
from ptm.train.stopping import BestMetric, Patience

MLM = Mlm(type="mlm")
COUNT = MLM.metrics[0].count
SUMS = {metric.name: 0.0 for metric in MLM.metrics}
ONE_RANK = Ranks(rank=0, world_size=1, device=torch.device("cpu"))


def test_means_over_nothing_are_null() -> None:
    counts = dict.fromkeys((metric.count for metric in MLM.metrics), 0.0)
    found = metric_means(SUMS, counts, MLM)
    assert set(found) == {"loss", "perplexity", *SUMS}
    assert set(found.values()) == {None}
    assert metric_means(SUMS, dict.fromkeys(counts, 2.0), MLM)["loss"] == 0.0


def test_a_metric_without_weight_does_not_hide_the_loss() -> None:
    counts = {"masked": 0.0, "pairs": 1.0}
    metrics = {metric.name for metric in MLM.metrics}
    assert unmeasured_metrics({COUNT: 0.0}, MLM, {}) == metrics
    assert unmeasured_metrics({COUNT: 0.0, **counts}, MLM, {"mlm_loss": 1.0}) == metrics | {"loss"}


def step(loss: float, *, measured: bool) -> StepResult:
    values = {"loss": torch.tensor(loss), "grad_norm": torch.tensor(1.0)}
    absent = frozenset() if measured else frozenset({"loss"})
    return StepResult(values, skipped=False, loss=loss, grad_norm=1.0, unmeasured=absent)


def test_a_window_averages_the_steps_that_measured_something() -> None:
    window = MetricWindow(ONE_RANK)
    for one in (step(4.0, measured=True), step(0.0, measured=False)):
        window.add(one)
    assert window.means() == {"loss": 4.0, "grad_norm": 1.0}
    resumed = MetricWindow(ONE_RANK, window.state())
    resumed.add(step(6.0, measured=True))
    assert resumed.means() == {"loss": 5.0, "grad_norm": 1.0}


def test_a_window_of_steps_without_anything_to_predict_is_null() -> None:
    window = MetricWindow(ONE_RANK)
    window.add(step(0.0, measured=False))
    assert window.means() == {"loss": None, "grad_norm": 1.0}


def test_the_console_says_what_was_not_measured() -> None:
    record = {"step": 1, "split": "eval", "loss": None, "perplexity": None}
    line = console_line(record, steps=2, higher=lambda name: False)
    assert line == "step 1/2 · eval · loss not measured · perplexity not measured"


@pytest.mark.parametrize("value", [None, math.nan, -math.inf, math.inf])
@pytest.mark.parametrize("higher", [False, True])
def test_the_best_is_a_number(value: float | None, higher: bool) -> None:
    best = BestMetric("loss", None, higher=higher)
    assert not best.note({"loss": value})
    assert best.note({"loss": 3.0})
    assert not best.note({"loss": value})
    assert best.value == 3.0


def test_patience_does_not_count_evaluations_without_a_measurement() -> None:
    patience = Patience(EarlyStopping(metric="loss", patience=1))
    patience.note({"loss": 3.0})
    patience.note({"loss": None})
    assert not patience.exhausted
    patience.note({"loss": math.nan})
    assert patience.exhausted


def test_a_loss_over_nothing_does_not_lower_the_limit_of_spikes() -> None:
    rule = AnomalyBlock(window=4, sigmas=3.0)
    detector = AnomalyDetector(rule)
    for loss in (5.0, None, None, 5.1, 4.9):
        assert detector.check(loss=loss, grad_norm=None, overflow=False) is None
    assert detector.state()["loss"] == [5.0, 5.1, 4.9]
