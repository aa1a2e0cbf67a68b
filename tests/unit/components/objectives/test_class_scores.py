"""Scores of classes, against plain second implementations and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, matthews_corrcoef

from ptm.components.objectives.scores.class_scores import (
    f1_of,
    macro_f1,
    matthews_correlation,
    micro_f1,
)

RATIO = 1e-7
"""torchmetrics divides counts in fp32."""


def plain_macro_f1(labels: list[int], predicted: list[int]) -> float:
    """As scikit-learn's f1_score(average="macro", zero_division=0)."""
    scores = []
    for one in sorted({*labels, *predicted}):
        pairs = list(zip(labels, predicted, strict=True))
        true = sum(a == one and b == one for a, b in pairs)
        precision = true / max(1, sum(b == one for _, b in pairs))
        recall = true / max(1, sum(a == one for a, _ in pairs))
        scores.append(2 * precision * recall / (precision + recall) if true else 0.0)
    return sum(scores) / len(scores)


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_macro_f1_equals_a_plain_implementation(classes: int) -> None:
    dice = np.random.default_rng(classes)
    for count in (1, 5, 200):
        labels, predicted = dice.integers(0, classes, (2, count))
        expected = plain_macro_f1(labels.tolist(), predicted.tolist())
        assert macro_f1(labels, predicted) == pytest.approx(expected, abs=RATIO)


def test_a_class_that_occurs_nowhere_does_not_count() -> None:
    labels, predicted = np.array([0, 0, 3]), np.array([0, 3, 3])
    # F1 of the classes 0 and 3: 2/3 each. Scikit-learn gives the same.
    assert macro_f1(labels, predicted) == pytest.approx(2 / 3, abs=RATIO)


def test_a_class_that_is_only_predicted_has_f1_0() -> None:
    assert macro_f1(np.array([0, 0]), np.array([0, 1])) == pytest.approx((2 / 3 + 0) / 2, abs=RATIO)


LABELS = np.array([0, 1, 1, 0, 1, 1, 0, 1, 0, 1, 1, 1])
PREDICTED = np.array([0, 1, 0, 1, 1, 1, 0, 0, 0, 1, 1, 0])
MANY = np.array([0, 1, 2, 3, 3, 2, 1, 0, 4, 4, 2, 2])
OF_MANY = np.array([0, 2, 2, 3, 1, 2, 1, 0, 4, 0, 2, 1])


def test_scores_are_the_values_of_scikit_learn() -> None:
    # f1_score and matthews_corrcoef of scikit-learn 1.9.1.
    assert f1_of(1, LABELS, PREDICTED) == pytest.approx(0.7142857142857143, abs=RATIO)
    assert f1_of(0, LABELS, PREDICTED) == pytest.approx(0.6, abs=RATIO)
    assert micro_f1(MANY, OF_MANY) == pytest.approx(0.6666666666666666, abs=RATIO)
    assert macro_f1(MANY, OF_MANY) == pytest.approx(0.6566666666666666, abs=RATIO)
    assert matthews_correlation(LABELS, PREDICTED) == pytest.approx(0.3535533905932738, abs=1e-12)
    assert matthews_correlation(MANY, OF_MANY) == pytest.approx(0.5819143739626463, abs=1e-12)


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_matthews_is_the_correlation_of_indicators(classes: int) -> None:
    dice = np.random.default_rng(classes)
    labels, predicted = (dice.integers(0, classes, 50) for _ in range(2))
    predicted[:20] = labels[:20]
    # Gorodkin 2004, equation 8: covariances of the indicators of each class, added up.
    true, found = (
        np.eye(classes)[one] - np.eye(classes)[one].mean(0) for one in (labels, predicted)
    )
    expected = (true * found).sum() / np.sqrt((true**2).sum() * (found**2).sum())
    assert matthews_correlation(labels, predicted) == pytest.approx(expected, abs=1e-12)


def test_scores_of_one_class_are_defined() -> None:
    ones = np.ones(4, dtype=np.int64)
    assert matthews_correlation(ones, ones) == 0
    assert f1_of(0, ones, ones) == 0
    assert f1_of(1, ones, ones) == 1


def test_large_counts_do_not_overflow() -> None:
    labels = np.repeat(np.arange(2), 2_000_000)
    assert matthews_correlation(labels, labels) == pytest.approx(1)


def test_scores_of_a_large_set_are_those_of_scikit_learn() -> None:
    dice = np.random.default_rng(0)
    labels = dice.choice([0, 3, 7, 5_000_000], 300_000, p=[0.9, 0.08, 0.015, 0.005])
    predicted = np.where(dice.random(labels.size) < 0.9, labels, dice.permutation(labels))
    expected = f1_score(labels, predicted, average="macro")
    assert macro_f1(labels, predicted) == pytest.approx(expected, abs=RATIO)
    small, found = np.minimum(labels, 9), np.minimum(predicted, 9)
    expected = matthews_corrcoef(small, found)
    assert matthews_correlation(small, found) == pytest.approx(expected, abs=1e-12)
    assert f1_of(3, labels, predicted) == pytest.approx(
        f1_score(labels == 3, predicted == 3), abs=RATIO
    )
