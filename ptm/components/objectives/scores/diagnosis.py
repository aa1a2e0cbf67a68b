"""What an evaluation finds beside its scores: labels that are confused, and the worst examples.

Shapes: E examples (or words), L labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64

MOST_WORST = 20
"""Examples of a set that are listed."""
_MOST_CELLS = 400
"""Cells of the confusion matrix that are kept: all of 20 labels."""


@dataclass(frozen=True)
class LabelScore:
    """Precision, recall and F1 of one label, or of the entities of one type."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int
    """How often it occurs among the labels."""


@dataclass(frozen=True)
class Confusion:
    """How many examples of one label were predicted as another, or as the same one."""

    label: str
    predicted: str
    count: int


@dataclass(frozen=True)
class WorstExample:
    """An example that the model is most wrong about: `example` is its index in the set."""

    example: int
    label: str
    predicted: str
    loss: float


@dataclass(frozen=True)
class Diagnosis:
    """Of one evaluation set. `confusions`: the largest cells, of at most 400 pairs of labels."""

    labels: tuple[LabelScore, ...] = ()
    confusions: tuple[Confusion, ...] = ()
    worst: tuple[WorstExample, ...] = ()


def label_scores(
    names: Sequence[str], hits: I64, true: I64, predicted: I64
) -> tuple[LabelScore, ...]:
    """The scores of the labels that occur. `hits`, `true`, `predicted` (L): counts of each."""
    with np.errstate(invalid="ignore"):
        precision, recall = (np.nan_to_num(hits / one) for one in (predicted, true))
        f1 = np.nan_to_num(2 * hits / (true + predicted))
    occur = np.flatnonzero(true + predicted).tolist()
    return tuple(
        LabelScore(names[at], float(precision[at]), float(recall[at]), float(f1[at]), int(true[at]))
        for at in occur
    )


def scores_of_classes(names: Sequence[str], true: I64, predicted: I64) -> tuple[LabelScore, ...]:
    """The scores of each class; `true`, `predicted` (E): class indexes."""
    count = len(names)
    return label_scores(
        names,
        np.bincount(true[true == predicted], minlength=count),
        np.bincount(true, minlength=count),
        np.bincount(predicted, minlength=count),
    )


def confusions(names: Sequence[str], true: I64, predicted: I64) -> tuple[Confusion, ...]:
    """The cells of the confusion matrix that are not 0, largest first."""
    cells, counts = np.unique(true * len(names) + predicted, return_counts=True)
    rows, columns = cells // len(names), cells % len(names)
    # Of very many labels the errors are kept first.
    correct = (rows == columns) & (cells.size > _MOST_CELLS)
    order = np.lexsort((-counts, correct))[:_MOST_CELLS]
    return tuple(
        Confusion(names[int(rows[at])], names[int(columns[at])], int(counts[at])) for at in order
    )


def largest(values: NDArray[Any], count: int = MOST_WORST) -> I64:
    """Indexes of the largest values (E), in descending order."""
    some = np.argpartition(-values, min(count, values.size) - 1)[:count]
    return np.asarray(some[np.argsort(-values[some], kind="stable")], dtype=np.int64)
