"""Heads of transformers on the body of a family: one file each, found by scanning this package."""

from __future__ import annotations

from ptm.component import classes_in
from ptm.components.objectives import Objective
from ptm.interop.hf.heads.base import Head


def heads() -> list[Head]:
    """One instance of every `Head` defined in this package."""
    kinds = classes_in(__name__, Head)  # type: ignore[type-abstract]
    return [kind() for kind in kinds]


def head_for(objective: Objective) -> Head | None:
    """The head that an objective trains; None for the objectives of pretraining, and others."""
    return next((head for head in heads() if head.holds(objective)), None)


def head_named(architecture: str) -> Head | None:
    """The head of a model class such as `BertForSequenceClassification`; None for others."""
    return next((head for head in heads() if architecture.endswith(head.suffix)), None)
