"""The labels of a corpus: names of classes with the counts of each, or numbers."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptm.errors import UserError, closest

logger = logging.getLogger(__name__)

_CHARACTERS_SHOWN = 40
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class LabelSet:
    """The labels that `objective.labels` declares; the class index of a label is its position."""

    names: tuple[str, ...]
    numbered: bool = False
    """Whether the recipe declares a number of labels N, so that the names are 0 to N - 1."""
    ignored: tuple[str, ...] = ()
    """Labels whose examples are left out and counted, such as the `-` of OCNLI."""

    @cached_property
    def _indexes(self) -> Mapping[str, int]:
        return {name: index for index, name in enumerate(self.names)}

    def __contains__(self, text: str) -> bool:
        """Whether a cell of a corpus is one of the labels."""
        return text.strip() in self._indexes

    def counts(self, indexes: NDArray[np.integer[Any]]) -> list[int]:
        """Return the number of examples of each label, given their class indexes."""
        return list(map(int, np.bincount(indexes, minlength=len(self.names))))

    def __str__(self) -> str:
        return str(len(self.names)) if self.numbered else f"[{', '.join(self.names)}]"

    def indexes_of(self, text: str) -> tuple[int, ...]:
        """Return the class indexes of the labels of a text, as they are written in a corpus.

        Raises UserError as `index_of`.
        """
        return (self.index_of(text),)

    def index_of(self, text: str) -> int:
        """Return the class index of a label as it is written in a corpus.

        Raises UserError with a sentence that says what is wrong, but not where.
        """
        name = text.strip()
        if name in self._indexes:
            return self._indexes[name]
        if not name:
            raise UserError("the label is missing. Write a label before the first TAB.")
        shown = name if len(name) <= _CHARACTERS_SHOWN else f"{name[:_CHARACTERS_SHOWN]}…"
        if self.numbered and name.isascii() and name.isdigit():
            number = name.lstrip("0") or "0"
            if number in self._indexes:
                raise UserError(f"the label {shown} begins with zeros. Write {number}.")
            raise UserError(
                f"the label {shown} is out of range: objective.labels = {self} allows 0 to "
                f"{len(self.names) - 1}. Correct the line, or set objective.labels to the number "
                "of classes."
            )
        if self.numbered:
            raise UserError(
                f'"{shown}" is not a label: objective.labels = {self} expects a number from 0 to '
                f"{len(self.names) - 1}. Correct the line, or list the names of the labels: "
                "objective.labels: [negative, positive]."
            )
        meant = closest(name, self.names)
        hint = f' Did you mean "{meant}"?' if meant else ""
        raise UserError(
            f'"{shown}" is not one of objective.labels = {self}.{hint} Correct the line, or add '
            "the label to objective.labels."
        )


LIST_SEPARATOR = "\t"
"""What separates the labels of a list of JSON or a table, once it is text. No label contains it."""


@dataclass(frozen=True)
class MultiLabelSet(LabelSet):
    """Labels of which a text may have several, or none."""

    separator: str = ","
    """What separates the labels of a text in a corpus."""

    def parts(self, text: str) -> tuple[str, ...]:
        """The labels of a text as a corpus has them, each once, without blanks around them."""
        pieces = text.replace(LIST_SEPARATOR, self.separator).split(self.separator)
        return tuple(dict.fromkeys(one for piece in pieces if (one := piece.strip())))

    def __contains__(self, text: str) -> bool:
        return all(super(MultiLabelSet, self).__contains__(one) for one in self.parts(text))

    def indexes_of(self, text: str) -> tuple[int, ...]:
        return tuple(sorted(self.index_of(one) for one in self.parts(text)))


@dataclass(frozen=True)
class NumberLabels(LabelSet):
    """The labels of a regression: any number.

    A store has integers as labels, so that the index of a number is the bits of it in fp32.
    """

    names: tuple[str, ...] = ("number",)
    limits: tuple[float, float] | None = None
    """The smallest and the largest number that is allowed; None: all finite ones."""

    def index_of(self, text: str) -> int:
        """Return the bits, as int32, of a number as it is written in a corpus.

        Raises UserError if it is no finite number of fp32.
        """
        if text not in self:
            shown = text.strip()[:_CHARACTERS_SHOWN]
            what = f'"{shown}" is not a finite number' if shown else "the label is missing"
            raise UserError(f"{what}; the label of a regression is a number. Correct the line.")
        if self.limits is not None and not self.limits[0] <= float(text) <= self.limits[1]:
            low, high = self.limits
            raise UserError(
                f'"{text.strip()}" is outside of objective.score_range = [{low:g}, {high:g}]. '
                "Correct the line, or set objective.score_range to the scale of the scores."
            )
        return int(np.float32(text.strip()).view(np.int32))

    def __contains__(self, text: str) -> bool:
        try:
            return math.isfinite(float(text)) and bool(np.abs(float(text)) <= _LARGEST)
        except ValueError:
            return False

    def counts(self, indexes: NDArray[np.integer[Any]]) -> list[int]:
        return [int(indexes.size)]

    def __str__(self) -> str:
        return "any number"


def numbers_of(indexes: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
    """Return the numbers whose bits are the labels of a store or a batch."""
    return indexes.astype(np.int32).view(np.float32)


def check_trained_labels(counts: Mapping[str, int], *, where: str) -> None:
    """Raise UserError unless every label occurs in the training data, and at least two do.

    Numbers are not checked. `counts`: number of training examples per label. `where`: the corpus
    or store, for messages.
    """
    if tuple(counts) == NumberLabels().names:
        return
    present = [name for name, count in counts.items() if count]
    if len(present) == 1:
        raise UserError(
            f'{where}: every training example has the label "{present[0]}". A classifier needs '
            "examples of at least two labels."
        )
    absent = [name for name, count in counts.items() if not count]
    if absent:
        raise UserError(
            f"{where}: no training example has the {_named(absent)}, which objective.labels "
            "declares, so it cannot be learned. Add examples or remove it from objective.labels."
        )


def check_evaluated_labels(
    counts: Mapping[str, int], trained: Mapping[str, int], *, where: str
) -> None:
    """Raise UserError if a label occurs in an evaluation set, but not in the training data.

    `counts`, `trained`: number of examples per label of the evaluation set and of the training
    data.
    """
    unseen = [name for name, count in counts.items() if count and not trained.get(name)]
    if unseen:
        raise UserError(
            f"{where}: the {_named(unseen)} occurs in this evaluation set but in no training "
            "example, so it cannot be learned. Add training examples with it, or remove it here."
        )


def check_trained_multi_labels(counts: Mapping[str, int], *, where: str) -> None:
    """Raise UserError if no training text has a label; warn of labels that do not occur.

    `counts`: number of texts per label. `where`: the corpus or store, for messages.
    """
    if not any(counts.values()):
        raise UserError(f"{where}: no training text has a label, so nothing can be learned.")
    absent = [name for name, count in counts.items() if not count]
    if absent:
        logger.warning(
            "%s: no training text has the %s, so it cannot be learned", where, _named(absent)
        )


def check_trained_tags(counts: Mapping[str, int], *, where: str) -> None:
    """Raise UserError unless at least two tags occur in the training data.

    `counts`: number of words per tag. `where`: the corpus or store, for messages. Logs a warning
    of tags that do not occur: rare ones may be absent from a sample.
    """
    present = [name for name, count in counts.items() if count]
    if len(present) == 1:
        raise UserError(
            f'{where}: every training word has the tag "{present[0]}". A model that tags words '
            "needs examples of at least two tags."
        )
    absent = [name for name, count in counts.items() if not count]
    if absent:
        logger.warning(
            "%s: no training word has the %s, so it cannot be learned", where, _named(absent, "tag")
        )


def warn_of_unseen_tags(
    counts: Mapping[str, int],
    trained: Mapping[str, int],
    *,
    where: str,
    what: str = "tag",
    unit: str = "word",
) -> None:
    """Log a warning if a tag occurs in an evaluation set, but not in the training data.

    `what`, `unit`: the words for a tag and for what has one.
    """
    unseen = [name for name, count in counts.items() if count and not trained.get(name)]
    if unseen:
        logger.warning(
            "%s: the %s occurs in this evaluation set but at no training %s",
            where,
            _named(unseen, what),
            unit,
        )


def _named(names: list[str], what: str = "label") -> str:
    quoted = ", ".join(f'"{name}"' for name in names)
    return f"{what} {quoted}"
