"""The base class of vocabulary trainers, with their options and results."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ptm.errors import UserError
from ptm.text.vocabulary_training.text import TrainingText

MIN_COUNT = 2
"""Words or pairs that occur less often are left out, unless `min_count` is given."""


@dataclass(frozen=True)
class VocabularyRequest:
    """The options of a vocabulary training, from the command line."""

    size: int | None
    """Number of tokens, special tokens included; None: no limit but `min_count`."""
    min_count: int | None
    """Rarer characters, pieces or words are left out; None: the trainer's default."""
    lowercase: bool
    extra: tuple[str, ...]
    """Special tokens without a role."""

    def specials(self, roles: Mapping[str, str], order: Iterable[str]) -> list[str]:
        """All special tokens in the order of their ids: those of `roles` in `order`, then `extra`.

        Raises UserError if a token of `extra` occurs twice, is empty or contains white space.
        """
        found = [roles[role] for role in order]
        for token in self.extra:
            if token in found:
                raise UserError(f'--special "{token}": the token is already a special token.')
            if not token or token.split() != [token]:
                raise UserError(f'--special "{token}": the token is empty or contains white space.')
            found.append(token)
        return found

    def needed_size(self, kind: str) -> int:
        """Return `size`, for a trainer that requires it. Raises UserError if it is not given."""
        if self.size is None:
            raise UserError(
                f"--size (number of tokens) is required for a vocabulary of type {kind}."
            )
        return self.size


@dataclass(frozen=True)
class TrainedVocabulary:
    """A trained vocabulary: its files and its `tokenizer` block."""

    files: dict[str, bytes]
    """Content by file name."""
    block: dict[str, Any]
    """The `tokenizer` block; each None is to be replaced by the path of the next of `files`."""
    size: int
    """Number of tokens."""


class VocabularyTrainer(ABC):
    """Trains one type of vocabulary. `name` is the value of `--type`."""

    name: ClassVar[str]

    @abstractmethod
    def train(self, text: TrainingText, request: VocabularyRequest) -> TrainedVocabulary:
        """Train a vocabulary on `text`. The same text and options give the same bytes.

        Raises UserError if the options are invalid for this type or do not fit the text.
        """
