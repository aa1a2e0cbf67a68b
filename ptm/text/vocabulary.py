"""A vocabulary: tokens by id, the special ones by role."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ptm.errors import UserError, nearest

ROLES = ("pad", "unk", "cls", "sep", "mask")
_UNUSED = re.compile(r"\[unused\d+\]|<unused\d+>|madeupword\d+")
_SENTINEL = re.compile(r"<extra_id_\d+>")
_SPECIAL_LOOKING = re.compile(r"[\[<][A-Za-z/_]+[\]>]")
_FEW_CAPITALS = 0.1


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by id; `specials` maps a role (`pad`, `cls` …) to its token.

    `source` is the file it came from, for messages; `reserved` are tokens without a role that stand
    for no text either; `key` is the block of the recipe that it belongs to.
    """

    tokens: tuple[str, ...]
    specials: Mapping[str, str]
    source: str
    reserved: frozenset[str] = frozenset()
    key: str = "tokenizer"

    @cached_property
    def ids(self) -> dict[str, int]:
        """Id by token."""
        return {token: index for index, token in enumerate(self.tokens)}

    @property
    def size(self) -> int:
        """Number of tokens."""
        return len(self.tokens)

    def special_id(self, role: str) -> int:
        """Id of the special token of `role`. Raises UserError where the vocabulary lacks it."""
        token = self.specials[role]
        if token not in self.ids:
            raise UserError(
                f"{self.source}: the vocabulary has no {token} (the {role} token), which is needed "
                f"here.{nearest(token, self._special_looking())} Add it, or name the token that "
                f"plays this part in {self.key}.special_tokens.{role}."
            )
        return self.ids[token]

    def require(self, roles: Sequence[str]) -> None:
        """Raise UserError unless every one of `roles` has its token."""
        for role in roles:
            self.special_id(role)

    def has(self, role: str) -> bool:
        """Whether there is a special token of `role`."""
        return self.specials[role] in self.ids

    @cached_property
    def sentinels(self) -> NDArray[np.int64]:
        """Ids of <extra_id_0>, <extra_id_1> … in this order, as far as there are any (T5)."""
        found = itertools.takewhile(self.ids.__contains__, map(sentinel, itertools.count()))
        return np.array([self.ids[token] for token in found], dtype=np.int64)

    @cached_property
    def ordinary_ids(self) -> NDArray[np.int64]:
        """Ids of tokens that stand for text: neither special, sentinel nor unused. Ascending."""
        special = {*self.specials.values(), *self.reserved}
        ordinary = [
            index
            for index, token in enumerate(self.tokens)
            if token not in special
            and not _UNUSED.fullmatch(token)
            and not _SENTINEL.fullmatch(token)
        ]
        return np.array(ordinary, dtype=np.int64)

    @cached_property
    def is_special(self) -> NDArray[np.bool_]:
        """By id: whether the token is one of the special ones."""
        flags = np.zeros(self.size, dtype=bool)
        flags[[self.ids[token] for token in set(self.specials.values()) if token in self.ids]] = (
            True
        )
        return flags

    def refuse_capitals(self, text_of: Callable[[str], str]) -> None:
        """Raise UserError where lowercase text could never be many of the words.

        A few tokens with capitals are left over in many lowercase vocabularies.
        """
        special = {*self.specials.values(), *self.reserved}
        ordinary = (token for token in self.tokens if token not in special)
        words = [word for word in map(text_of, ordinary) if len(word) > 1]
        capitals = [word for word in words if _capital(word)]
        if len(capitals) > _FEW_CAPITALS * (len(capitals) + sum(map(str.islower, words))):
            raise UserError(
                f"{self.source}: {len(capitals)} of its tokens have capitals (such as "
                f'"{capitals[0]}"), which {self.key}.lowercase: true would never produce. Set '
                f"{self.key}.lowercase: false, or give a vocabulary of lowercase text."
            )

    def _special_looking(self) -> list[str]:
        return [token for token in self.tokens if _SPECIAL_LOOKING.fullmatch(token)]


def sentinel(number: int) -> str:
    """The token that stands for a span of noise, counted from 0 (T5)."""
    return f"<extra_id_{number}>"


@dataclass(frozen=True)
class Vocabularies:
    """Those of both sides of an example; one and the same but for recipes with two tokenizers."""

    source: Vocabulary
    target: Vocabulary

    @staticmethod
    def one(vocabulary: Vocabulary) -> Vocabularies:
        """The same on both sides."""
        return Vocabularies(vocabulary, vocabulary)


def _capital(token: str) -> bool:
    plain = _UNUSED.fullmatch(token) or _SPECIAL_LOOKING.fullmatch(token)
    return token != token.lower() and not plain


def lines_of(path: str) -> list[str]:
    """The lines of a text file, which a newline alone ends. Raises UserError naming the file."""
    try:
        with open(path, encoding="utf-8", newline="\n") as lines:  # noqa: PTH123
            return [line.rstrip("\r\n") for line in lines]
    except OSError as error:
        raise UserError(f"{path}: cannot be read as a vocabulary: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text at byte {error.start}.") from error


def read_vocabulary(path: str) -> tuple[str, ...]:
    """The tokens of a `vocab.txt`, one a line. Raises UserError naming file and line."""
    return tokens_of_lines(lines_of(path), path)


def tokens_of_lines(lines: Sequence[str], path: str) -> tuple[str, ...]:
    """The lines as tokens by id, empty ones at the end left out. Raises UserError for two alike."""
    tokens = list(lines)
    while tokens and not tokens[-1]:
        tokens.pop()
    if not tokens:
        raise UserError(f"{path}: the vocabulary is empty; it should have one token a line.")
    first_line: dict[str, int] = {}
    for number, token in enumerate(tokens, start=1):
        if token in first_line:
            raise UserError(
                f"{path}:{number}: the token {token!r} stands already in line {first_line[token]}; "
                "ids would be ambiguous."
            )
        first_line[token] = number
    return tuple(tokens)
