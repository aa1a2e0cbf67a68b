"""Scores of classes and of entities over a whole set. Shapes: E examples (or words).

All of them are a few counts; torchmetrics, which has some too, would load torch for `ptm validate`.
"""

from __future__ import annotations

import math

import numpy as np

from ptm.arrays import I64, Flags
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


def micro_f1(labels: I64, predicted: I64) -> float:
    """Return the F1 over the counts of all classes together, as scikit-learn's `average="micro"`.

    With one label per example each miss is a false positive and a false negative, so that it is the
    accuracy.
    """
    return float(np.mean(labels == predicted))


def f1_of(positive: int, labels: I64, predicted: I64) -> float:
    """Return the F1 of the class `positive`; 0 if it is neither a label nor predicted.

    As scikit-learn's `average="binary"` with `pos_label=positive`.
    """
    hits = int(np.sum((labels == positive) & (predicted == positive)))
    either = int(np.sum(labels == positive)) + int(np.sum(predicted == positive))
    return 2 * hits / either if either else 0.0


def multi_label_f1(labels: Flags, predicted: Flags) -> dict[str, float]:
    """Return the macro- and micro-averaged F1 of labels of which a text may have several.

    `labels`, `predicted` (E, C): whether an example has each label. As scikit-learn's `f1_score`
    with `zero_division=0`: a label that no example has and none is predicted to have counts as 0.
    """
    hits = (labels & predicted).sum(axis=0)
    # 2 TP + FP + FN, for each label.
    either = labels.sum(axis=0) + predicted.sum(axis=0)
    each = np.divide(2 * hits, either, out=np.zeros(hits.size), where=either > 0)
    total = int(either.sum())
    micro = 2 * int(hits.sum()) / total if total else 0.0
    return {"macro_f1": float(each.mean()), "micro_f1": micro}


def matthews_correlation(labels: I64, predicted: I64) -> float:
    """Return the correlation of labels and predictions (Matthews 1975; R_K of Gorodkin 2004).

    It is 0 if one of them has a single class.
    """
    classes = int(max(labels.max(), predicted.max())) + 1
    # Python's integers, since the squares of large counts overflow.
    true = np.bincount(labels, minlength=classes).astype(object)
    found = np.bincount(predicted, minlength=classes).astype(object)
    examples, hits = labels.size, int(np.sum(labels == predicted))
    covariance = hits * examples - int((true * found).sum())
    of_true = examples**2 - int((true**2).sum())
    of_found = examples**2 - int((found**2).sum())
    if not of_true or not of_found:
        return 0.0
    return covariance / math.sqrt(of_true * of_found)


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
