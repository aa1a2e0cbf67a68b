"""Macro-F1, against a plain second implementation."""

from __future__ import annotations

import numpy as np
import pytest

from ptm.components.objectives.class_scores import macro_f1


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
        assert macro_f1(labels, predicted) == pytest.approx(expected, abs=1e-12)


def test_a_class_that_occurs_nowhere_does_not_count() -> None:
    labels, predicted = np.array([0, 0, 3]), np.array([0, 3, 3])
    # F1 of the classes 0 and 3: 2/3 each. Scikit-learn gives the same.
    assert macro_f1(labels, predicted) == pytest.approx(2 / 3)


def test_a_class_that_is_only_predicted_has_f1_0() -> None:
    assert macro_f1(np.array([0, 0]), np.array([0, 1])) == pytest.approx((2 / 3 + 0) / 2)
