"""Correlation of labels and predictions over all examples of a set. Shapes: E examples."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.floating[Any]]


def pearson(labels: Numbers, predicted: Numbers) -> float:
    """Return the linear correlation of two series (E), as scipy's `pearsonr`.

    It is 0 if one of them is constant, where scipy returns NaN.
    """
    first, second = (
        one.astype(np.float64) - one.mean(dtype=np.float64) for one in (labels, predicted)
    )
    lengths = float(np.sqrt((first @ first) * (second @ second)))
    if np.ptp(labels) == 0 or np.ptp(predicted) == 0 or not lengths:
        return 0.0
    return float(np.clip((first @ second) / lengths, -1.0, 1.0))


def spearman(labels: Numbers, predicted: Numbers) -> float:
    """Return the correlation of the ranks of two series (E), as scipy's `spearmanr`.

    Equal values share the mean of their ranks. It is 0 if one of the series is constant.
    """
    return pearson(_ranks(labels), _ranks(predicted))


def _ranks(values: Numbers) -> Numbers:
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    # The ranks of a group of equal values are consecutive; their mean is the last one less half
    # of the others.
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[group])
