"""Correlations, against scipy's values and torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr

from ptm.components.objectives.scores.correlation import pearson, spearman

LABELS = np.array([0, 1, 1, 2.5, 2.5, 2.5, 4, 5, 0.2, 3.8])
PREDICTED = np.array([0.3, 0.3, 1.2, 2.0, 2.2, 2.0, 3.9, 3.9, 0.3, 5.1])


def test_the_values_are_those_of_scipy_with_ties() -> None:
    # pearsonr and spearmanr of scipy 1.17.
    assert pearson(LABELS, PREDICTED) == pytest.approx(0.9233295387676989, abs=1e-12)
    assert spearman(LABELS, PREDICTED) == pytest.approx(0.9279042457647103, abs=1e-12)


@pytest.mark.parametrize("shift", [0.0, 1e4])
def test_pearson_is_that_of_torch(shift: float) -> None:
    dice = np.random.default_rng(0)
    first = dice.normal(size=200)
    second = first + dice.normal(size=200) + shift
    expected = torch.corrcoef(torch.from_numpy(np.stack([first, second])))[0, 1]
    assert pearson(first, second) == pytest.approx(float(expected), abs=1e-9)


def test_spearman_sees_only_the_order() -> None:
    first = np.linspace(-2, 3, 30, dtype=np.float32)
    assert spearman(first, np.exp(first)) == pytest.approx(1)
    assert spearman(first, -(first**3)) == pytest.approx(-1)
    assert pearson(first, np.exp(first)) < 0.95


def test_a_constant_series_has_no_correlation() -> None:
    constant = np.full(10, 0.1, dtype=np.float32)
    assert pearson(LABELS, constant) == 0
    assert spearman(constant, PREDICTED) == 0


def test_many_equal_values_have_the_correlation_of_scipy() -> None:
    dice = np.random.default_rng(0)
    labels = dice.integers(0, 3, 200_000).astype(np.float32)
    predicted = (labels + dice.normal(size=labels.size)).astype(np.float32)
    assert spearman(labels, predicted) == pytest.approx(spearmanr(labels, predicted)[0], abs=1e-9)


def test_numbers_that_vary_little_around_a_large_mean_have_the_correlation_of_scipy(
    recwarn: pytest.WarningsRecorder,
) -> None:
    dice = np.random.default_rng(0)
    labels = 1e6 + 1e-3 * dice.normal(size=500)
    predicted = 1e6 + 1e-3 * dice.normal(size=500)
    expected = pearsonr(labels - 1e6, predicted - 1e6)[0]
    assert pearson(labels, predicted) == pytest.approx(expected, abs=1e-6)
    assert [str(one.message) for one in recwarn] == []
