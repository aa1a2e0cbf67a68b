"""Tags of words: the schemes in which they mark entities, the entities, and the repair of tags.

In the scheme `bio` an entity of type X is B-X, then I-X for each further word; all other words are
O. In `bioes` an entity of one word is S-X, and a longer one B-X, I-X for each inner word, E-X. In
`plain` a tag is a class of its own, as in part-of-speech tagging.

Shapes: W words of several sentences, one sentence after another; N tags; E entities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64, Flags, index_within, owner_of
from ptm.errors import UserError, closest
from ptm.text.labels import LabelSet

Scheme = Literal["bio", "bioes", "plain"]

OUTSIDE = "O"
_O, _B, _I, _E, _S = range(5)
_LETTERS: dict[Scheme, dict[str, int]] = {
    "bio": {"B": _B, "I": _I},
    # M, L and U are the names of other authors (BMES, BILOU).
    "bioes": {"B": _B, "I": _I, "M": _I, "E": _E, "L": _E, "S": _S, "U": _S},
    "plain": {},
}
_WRITTEN: dict[Scheme, str] = {"bio": "BI", "bioes": "BIES", "plain": ""}
_CHARACTERS_SHOWN = 40


@dataclass(frozen=True)
class Entities:
    """Entities (E), in ascending order: the first and the last word of each, and its type."""

    first: I64
    last: I64
    types: I64

    def matches(self, other: Entities) -> int:
        """How many entities have the same words and the same type in `other`."""
        return len(self.matching_types(other))

    def matching_types(self, other: Entities) -> list[int]:
        """The type of each entity that has the same words and the same type in `other`."""
        mine, theirs = (set(zip(*one.columns, strict=True)) for one in (self, other))
        return [kind for _, _, kind in mine & theirs]

    @property
    def columns(self) -> tuple[list[int], list[int], list[int]]:
        """The fields as lists."""
        return self.first.tolist(), self.last.tolist(), self.types.tolist()


def tags_of_entities(entities: Sequence[str], scheme: Scheme) -> tuple[str, ...]:
    """The tags of these types of entities: O, then B-X, I-X … of each type."""
    return (OUTSIDE, *(f"{letter}-{one}" for one in entities for letter in _WRITTEN[scheme]))


@dataclass(frozen=True)
class TagSet(LabelSet):
    """The tags that an objective declares, and their scheme."""

    scheme: Scheme = "bio"

    def check(self) -> None:
        """Raise ValueError if a tag does not belong to the scheme."""
        letters = _LETTERS[self.scheme]
        for name in self.names:
            if letters and name != OUTSIDE and name.partition("-")[0] not in letters:
                raise ValueError(
                    f'scheme = {self.scheme}: the tag "{name}" is neither O nor '
                    f"{' or '.join(f'{one}-TYPE' for one in _WRITTEN[self.scheme])}. Correct it, "
                    "or set scheme: plain"
                )

    @property
    def has_entities(self) -> bool:
        """Whether the tags mark entities."""
        return self.scheme != "plain"

    def tag_index(self, value: Any) -> int:
        """Return the class index of a tag as a corpus has it: its name, or its position.

        Raises UserError with a sentence that says what is wrong, but not where.
        """
        if isinstance(value, str):
            name = value.strip()
            if name in self._indexes:
                return self._indexes[name]
            shown = name if len(name) <= _CHARACTERS_SHOWN else f"{name[:_CHARACTERS_SHOWN]}…"
            meant = closest(name, self.names)
            hint = f' Did you mean "{meant}"?' if meant else ""
            raise UserError(
                f'"{shown}" is not one of the tags {self} of the objective.{hint} Correct the tag, '
                "or declare it in objective.labels or objective.entities."
            )
        if 0 <= value < len(self.names):
            return int(value)
        raise UserError(
            f"the tag {value} is out of range: the {len(self.names)} tags {self} of the objective "
            f"have the numbers 0 to {len(self.names) - 1}. Correct the tag, or declare it in "
            "objective.labels."
        )

    @cached_property
    def entity_types(self) -> tuple[str, ...]:
        """The types of entities, in the order of the tags."""
        return tuple(dict.fromkeys(n.partition("-")[2] for n in self.names if n != OUTSIDE))

    @cached_property
    def parts(self) -> I64:
        """What each tag (N) is of an entity: outside, begin, inside, end or single."""
        letters = _LETTERS[self.scheme]
        return np.array([letters.get(n.partition("-")[0], _O) for n in self.names], dtype=np.int64)

    @cached_property
    def types(self) -> I64:
        """The type of each tag's entity (N); -1 outside."""
        found = [
            -1 if n == OUTSIDE else self.entity_types.index(n.partition("-")[2]) for n in self.names
        ]
        return np.array(found, dtype=np.int64)

    def entities(self, tags: I64, begins: Flags) -> Entities:
        """The entities of tagged words, as `seqeval` reads them in its default mode.

        `tags` (W): class indexes. `begins` (W): whether the word is the first of its sentence. A
        tag that continues no entity of its type begins one, and an entity that has no end tag ends
        before the next one or O.
        """
        inside = self.parts[tags] != _O
        continues = self._continues(tags, begins)
        ends = inside & ~np.append(continues[1:], False)
        first = np.flatnonzero(inside & ~continues)
        return Entities(first, np.flatnonzero(ends), self.types[tags[first]])

    def _continues(self, tags: I64, begins: Flags) -> Flags:
        """Whether each word (W) continues the entity of the word before it."""
        parts, types = self.parts[tags], self.types[tags]
        found = np.zeros(tags.size, dtype=bool)
        found[1:] = _continuing(parts[:-1], types[:-1], parts[1:], types[1:]) & ~begins[1:]
        return found

    def repaired(self, tags: I64, begins: Flags) -> I64:
        """The tags of the same entities by the rules of the scheme; -1 for a tag not declared.

        `tags`, `begins` (W) as in `entities`. Tags that follow the rules stay as they are.
        """
        if not self.has_entities or not tags.size:
            return tags
        entities = self.entities(tags, begins)
        lengths = entities.last - entities.first + 1
        place, length = index_within(owner_of(lengths)), np.repeat(lengths, lengths)
        expected = np.where(place == 0, _B, _I)
        if self.scheme == "bioes":
            expected = np.where(place == length - 1, _E, expected)
            expected = np.where(length == 1, _S, expected)
        words = np.flatnonzero(self.parts[tags] != _O)
        wrong = self.parts[tags[words]] != expected
        result = tags.copy()
        result[words[wrong]] = self._index_by_part[self.types[tags[words[wrong]]], expected[wrong]]
        return result

    @cached_property
    def _index_by_part(self) -> I64:
        """Class index by type and part; -1 if that tag is not declared."""
        table = np.full((max(1, len(self.entity_types)), 5), -1, dtype=np.int64)
        for index in reversed(range(len(self.names))):
            if self.types[index] >= 0:
                table[self.types[index], self.parts[index]] = index
        return table

    @cached_property
    def allowed(self) -> NDArray[np.bool_]:
        """Which tag may follow which (N + 2, N).

        Row i: the tags that may follow tag i. Row N: those at the begin of a sentence. Row N + 1:
        those at its end.
        """
        count = len(self.names)
        found = np.ones((count + 2, count), dtype=bool)
        if not self.has_entities:
            return found
        # A sentence is between two words outside of entities.
        parts, types = np.append(self.parts, _O), np.append(self.types, -1)
        before, after = (parts[:, None], types[:, None]), (parts[None], types[None])
        continuing = _continuing(*before, *after)
        bound = np.isin(after[0], (_I, _E)) & np.ones_like(continuing)
        if self.scheme == "bioes":
            bound |= np.isin(before[0], (_B, _I))
        allowed = ~bound | continuing
        found[:count] = allowed[:count, :count]
        found[count] = allowed[count, :count]
        found[count + 1] = allowed[:count, count]
        return found


def _continuing(parts: I64, types: I64, next_parts: I64, next_types: I64) -> Flags:
    """Whether a tag continues the entity of the tag before it."""
    inside = np.isin(parts, (_B, _I)) & np.isin(next_parts, (_I, _E))
    return np.asarray(inside & (types == next_types))
