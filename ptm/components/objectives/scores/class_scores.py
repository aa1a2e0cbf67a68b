"""Scores of classes and of entities over a whole set. Shapes: E examples (or words).

F1 is that of torchmetrics, whose ratios are in fp32. Its functions are imported where they are
called, because torchmetrics loads torch, and importing it takes two seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ptm.arrays import I64, Flags
from ptm.text.tags import Entities


def macro_f1(labels: I64, predicted: I64) -> float:
    """Return the unweighted mean of the F1 of each class, as scikit-learn's `average="macro"`.

    `labels`, `predicted` (E): class indexes, at least one. The mean is over the classes that occur
    in one of them; a class that is never predicted correctly has F1 0. F1 is 2 TP / (2 TP + FP +
    FN).
    """
    return _mean_f1(labels, predicted, "macro")


def micro_f1(labels: I64, predicted: I64) -> float:
    """Return the F1 over the counts of all classes together, as scikit-learn's `average="micro"`.

    With one label per example each miss is a false positive and a false negative, so that it is the
    accuracy.
    """
    return _mean_f1(labels, predicted, "micro")


def _mean_f1(labels: I64, predicted: I64, average: Literal["macro", "micro"]) -> float:
    import torch
    from torchmetrics.functional.classification import multiclass_f1_score

    # Only classes that occur: torchmetrics counts in a table of classes times classes.
    _, classes = np.unique(np.stack([labels, predicted]), return_inverse=True)
    true, found = torch.from_numpy(classes.reshape(2, -1))
    # torchmetrics requires two classes; one that occurs nowhere does not count.
    count = max(2, int(classes.max()) + 1)
    return float(
        multiclass_f1_score(found, true, count, average=average, validate_args=False).item()
    )


def f1_of(positive: int, labels: I64, predicted: I64) -> float:
    """Return the F1 of the class `positive`; 0 if it is neither a label nor predicted.

    As scikit-learn's `average="binary"` with `pos_label=positive`.
    """
    import torch
    from torchmetrics.functional.classification import binary_f1_score

    true, found = (torch.from_numpy(one == positive).long() for one in (labels, predicted))
    return float(binary_f1_score(found, true, validate_args=False).item())


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

    It is 0 if one of them has a single class, as in scikit-learn. Not that of torchmetrics 1.9,
    which computes products of counts in fp32, and for two classes returns 1 if all labels and
    predictions are the same class.
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
    return EntityCounts.of(true, predicted).scores


@dataclass(frozen=True)
class EntityCounts:
    """Numbers of entities: those found, those of the labels and those predicted."""

    found: int = 0
    true: int = 0
    predicted: int = 0

    @classmethod
    def of(cls, true: Entities, predicted: Entities) -> EntityCounts:
        """The counts of entities of the same sentences."""
        return cls(predicted.matches(true), true.first.size, predicted.first.size)

    def __add__(self, other: EntityCounts) -> EntityCounts:
        return EntityCounts(
            self.found + other.found, self.true + other.true, self.predicted + other.predicted
        )

    @property
    def scores(self) -> dict[str, float]:
        """Precision, recall and F1; a ratio over nothing is 0."""
        precision = self.found / self.predicted if self.predicted else 0.0
        recall = self.found / self.true if self.true else 0.0
        total = precision + recall
        return {
            "entity_precision": precision,
            "entity_recall": recall,
            "entity_f1": 2 * precision * recall / total if total else 0.0,
        }
