"""What every trainer of vocabularies reads, is asked for and gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ptm.errors import UserError
from ptm.text.vocabulary_training.text import TrainingText


@dataclass(frozen=True)
class Wish:
    """What is asked for."""

    size: int | None
    """Tokens in all, special ones included; None: as many as `min_count` lets through."""
    min_count: int | None
    lowercase: bool
    extra: tuple[str, ...]
    """Special tokens besides those with a role."""

    def specials(self, roles: Mapping[str, str], order: Iterable[str]) -> list[str]:
        """All special tokens in the order of their ids. Raises UserError where two are alike."""
        found = [roles[role] for role in order]
        for token in self.extra:
            if token in found:
                raise UserError(f'--special "{token}": is a special token already.')
            if not token or token.split() != [token]:
                raise UserError(f'--special "{token}": must be a token without white space.')
            found.append(token)
        return found

    def needed_size(self, kind: str) -> int:
        """The size, where a kind has to be given one. Raises UserError where it is not."""
        if self.size is None:
            raise UserError(f"--size: how many tokens a vocabulary of type {kind} is to have.")
        return self.size


@dataclass(frozen=True)
class Trained:
    """Files by name, and the `tokenizer` block in which `None` stands for such a file's path."""

    files: dict[str, bytes]
    block: dict[str, Any]
    size: int


class Trainer(ABC):
    """A kind of vocabulary."""

    name: ClassVar[str]

    @abstractmethod
    def train(self, text: TrainingText, wish: Wish) -> Trained:
        """The vocabulary of `text`; the same text and wish give the same bytes.

        Raises UserError for a wish that cannot be fulfilled.
        """
