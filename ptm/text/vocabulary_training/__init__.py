"""Training vocabularies from text, one trainer per file."""

from __future__ import annotations

from ptm.component import classes_in
from ptm.text.vocabulary_training.base import Trained, Trainer, Wish
from ptm.text.vocabulary_training.text import TrainingText

__all__ = ["Trained", "Trainer", "TrainingText", "Wish", "trainers"]


def trainers() -> dict[str, Trainer]:
    """One instance of every trainer in this package, by name."""
    kinds = classes_in(__name__, Trainer)  # type: ignore[type-abstract]
    found = {kind.name: kind() for kind in kinds}
    return dict(sorted(found.items()))
