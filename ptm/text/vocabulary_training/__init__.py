"""Training vocabularies from text, one trainer per file."""

from __future__ import annotations

from ptm.component import classes_in
from ptm.text.vocabulary_training.base import (
    TrainedVocabulary,
    VocabularyRequest,
    VocabularyTrainer,
)
from ptm.text.vocabulary_training.text import TrainingText

__all__ = [
    "TrainedVocabulary",
    "TrainingText",
    "VocabularyRequest",
    "VocabularyTrainer",
    "trainers",
]


def trainers() -> dict[str, VocabularyTrainer]:
    """One instance of every trainer in this package, by name."""
    kinds = classes_in(__name__, VocabularyTrainer)  # type: ignore[type-abstract]
    found = {kind.name: kind() for kind in kinds}
    return dict(sorted(found.items()))
