"""Correlation of labels and predictions over all examples of a set. Shapes: E examples.

Computed by torchmetrics in fp64. It is imported where it is called, because it loads torch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.floating[Any]]


def pearson(labels: Numbers, predicted: Numbers) -> float:
    """Return the linear correlation of two series (E), as scipy's `pearsonr`.

    It is 0 if one of them is constant, where scipy returns NaN.
    """
    if np.ptp(labels) == 0 or np.ptp(predicted) == 0:
        return 0.0
    import torch
    from torchmetrics.functional.regression import pearson_corrcoef

    first, second = (torch.from_numpy(one.astype(np.float64)) for one in (labels, predicted))
    # Centred before, because torchmetrics warns of numbers that vary little around a large mean.
    found = float(pearson_corrcoef(first - first.mean(), second - second.mean()).item())
    return found if np.isfinite(found) else 0.0


def spearman(labels: Numbers, predicted: Numbers) -> float:
    """Return the correlation of the ranks of two series (E), as scipy's `spearmanr`.

    Equal values share the mean of their ranks. It is 0 if one of the series is constant. The ranks
    are not those of torchmetrics 1.9, whose sums of 32 bits overflow from 65,536 equal values on.
    """
    return pearson(_ranks(labels), _ranks(predicted))


def _ranks(values: Numbers) -> Numbers:
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    # The ranks of a group of equal values are consecutive; their mean is the last one less half
    # of the others.
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[group])
