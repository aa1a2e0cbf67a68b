"""Scores of classes and of entities over a whole set. Shapes: E examples (or words)."""

from __future__ import annotations

import numpy as np

from ptm.arrays import I64
from ptm.text.tags import Entities


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


def entity_scores(true: Entities, predicted: Entities) -> dict[str, float]:
    """Return precision, recall and F1 of entities, as `seqeval` in its default mode.

    An entity is found if its first word, its last word and its type are predicted. A ratio over
    nothing is 0.
    """
    found, of_true, of_predicted = predicted.matches(true), true.first.size, predicted.first.size
    precision = found / of_predicted if of_predicted else 0.0
    recall = found / of_true if of_true else 0.0
    total = precision + recall
    return {
        "entity_precision": precision,
        "entity_recall": recall,
        "entity_f1": 2 * precision * recall / total if total else 0.0,
    }
