"""Scores of a classification over all examples of a set. Shapes: E examples."""

from __future__ import annotations

import numpy as np

from ptm.arrays import I64


def macro_f1(labels: I64, predicted: I64) -> float:
    """Return the unweighted mean of the F1 of each class, as scikit-learn's `average="macro"`.

    `labels`, `predicted` (E): class indexes, at least one. The mean is over the classes that occur
    in one of them; a class that is never predicted correctly has F1 0. F1 is 2 TP / (2 TP + FP +
    FN).
    """
    classes = int(max(labels.max(), predicted.max())) + 1
    true = np.bincount(labels, minlength=classes)
    found = np.bincount(predicted, minlength=classes)
    hits = np.bincount(labels[labels == predicted], minlength=classes)
    # 2 TP + FP + FN is the number of examples of the class plus that of its predictions.
    either = true + found
    return float(np.mean(2 * hits[either > 0] / either[either > 0]))
