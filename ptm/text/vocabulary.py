"""A vocabulary: its tokens by id, and the special tokens by role."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ptm.errors import UserError, nearest
from ptm.files.user_files import read_lines

ROLES = ("pad", "unk", "cls", "sep", "mask")
COUNTERPARTS = {"bos": "cls", "eos": "sep"}
"""Roles of models that predict the next token; by default each has the token of the other role."""
_UNUSED = re.compile(r"\[unused\d+\]|<unused\d+>|madeupword\d+")
SENTINEL = re.compile(r"<extra_id_\d+>")
"""A sentinel of T5."""
_SPECIAL_LOOKING = re.compile(r"[\[<][A-Za-z/_]+[\]>]")
_FEW_CAPITALS = 0.1


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by id, and the special tokens among them."""

    tokens: tuple[str, ...]
    specials: Mapping[str, str]
    """Role (`pad`, `unk`, `cls`, `sep`, `mask`) to token; a token may be absent from `tokens`.

    `bos` and `eos` are included only if they differ from `cls` and `sep`, so that the fingerprint
    of a tokenizer does not depend on which of the names a recipe uses.
    """
    source: str
    """The file that it was read from; named in messages."""
    reserved: frozenset[str] = frozenset()
    """Tokens without a role that text is never tokenised to."""
    key: str = "tokenizer"
    """The recipe block that it belongs to; named in messages."""

    @cached_property
    def ids(self) -> dict[str, int]:
        """Token to id."""
        return {token: index for index, token in enumerate(self.tokens)}

    @property
    def size(self) -> int:
        """Number of tokens."""
        return len(self.tokens)

    def special_token(self, role: str) -> str:
        """The special token of `role`, whether or not the vocabulary has it."""
        token = self.specials.get(role)
        return self.specials[COUNTERPARTS[role]] if token is None else token

    def special_id(self, role: str) -> int:
        """Id of the special token of `role`. Raises UserError if the vocabulary lacks it."""
        token = self.special_token(role)
        if token not in self.ids:
            raise UserError(
                f"{self.source}: the vocabulary has no {token} (the {role} token), which is "
                f"required.{nearest(token, self._special_looking())} Add it, or set "
                f"{self.key}.special_tokens.{role} to the token that is used for it."
            )
        return self.ids[token]

    def require(self, roles: Sequence[str]) -> None:
        """Raise UserError unless the vocabulary has the special tokens of all `roles`."""
        for role in roles:
            self.special_id(role)

    def has(self, role: str) -> bool:
        """Whether the vocabulary has the special token of `role`."""
        return self.special_token(role) in self.ids

    @cached_property
    def sentinels(self) -> NDArray[np.int64]:
        """Ids of T5's sentinels <extra_id_0>, <extra_id_1> … up to the first that is missing."""
        found = itertools.takewhile(self.ids.__contains__, map(sentinel, itertools.count()))
        return np.array([self.ids[token] for token in found], dtype=np.int64)

    @cached_property
    def ordinary_ids(self) -> NDArray[np.int64]:
        """Ids of text tokens, ascending: without special, reserved, sentinel and unused ones."""
        special = {*self.specials.values(), *self.reserved}
        ordinary = [
            index
            for index, token in enumerate(self.tokens)
            if token not in special
            and not _UNUSED.fullmatch(token)
            and not SENTINEL.fullmatch(token)
        ]
        return np.array(ordinary, dtype=np.int64)

    @cached_property
    def is_special(self) -> NDArray[np.bool_]:
        """Whether each token is a special token (V), indexed by id."""
        flags = np.zeros(self.size, dtype=bool)
        flags[[self.ids[token] for token in set(self.specials.values()) if token in self.ids]] = (
            True
        )
        return flags

    def check_lowercase(self, text_of: Callable[[str], str]) -> None:
        """Raise UserError if lowercased text can never produce many of the tokens.

        More than a tenth of the cased words must have capitals: many lowercase vocabularies contain
        a few such tokens. `text_of` returns the text of a token, without word and piece marks.
        """
        special = {*self.specials.values(), *self.reserved}
        ordinary = (token for token in self.tokens if token not in special)
        words = [word for word in map(text_of, ordinary) if len(word) > 1]
        capitals = [word for word in words if _has_capitals(word)]
        if len(capitals) > _FEW_CAPITALS * (len(capitals) + sum(map(str.islower, words))):
            raise UserError(
                f"{self.source}: tokens with capitals: {len(capitals)} (such as "
                f'"{capitals[0]}"). {self.key}.lowercase: true never produces them. Set '
                f"{self.key}.lowercase: false, or use a vocabulary of lowercase text."
            )

    def _special_looking(self) -> list[str]:
        return [token for token in self.tokens if _SPECIAL_LOOKING.fullmatch(token)]


def sentinel(number: int) -> str:
    """T5's sentinel token for noise span `number`, counted from 0."""
    return f"<extra_id_{number}>"


@dataclass(frozen=True)
class Vocabularies:
    """Source and target vocabulary; the same object unless the recipe has a
    `target_tokenizer`."""

    source: Vocabulary
    target: Vocabulary

    @staticmethod
    def shared(vocabulary: Vocabulary) -> Vocabularies:
        """Use `vocabulary` for source and target."""
        return Vocabularies(vocabulary, vocabulary)


def _has_capitals(token: str) -> bool:
    plain = _UNUSED.fullmatch(token) or _SPECIAL_LOOKING.fullmatch(token)
    return token != token.lower() and not plain


def first_difference(theirs: Sequence[str], ours: Sequence[str]) -> str:
    """A phrase for messages: where two different vocabularies, as tokens by id, first differ."""
    for index, (there, here) in enumerate(zip(theirs, ours, strict=False)):
        if there != here:
            return f"token {index} is {there!r} there and {here!r} here"
    return f"{len(theirs):,} tokens there and {len(ours):,} here"


def read_vocabulary(path: str) -> tuple[str, ...]:
    """Read a `vocab.txt` with one token per line. Raises UserError naming file and line."""
    return parse_tokens(read_lines(path), path)


def parse_tokens(lines: Sequence[str], path: str) -> tuple[str, ...]:
    """The lines as tokens by id; empty lines at the end are dropped.

    Raises UserError if no token is left or a token occurs twice. `path` is named in the messages.
    """
    tokens = list(lines)
    while tokens and not tokens[-1]:
        tokens.pop()
    if not tokens:
        raise UserError(f"{path}: the vocabulary is empty; it must have one token per line.")
    first_line: dict[str, int] = {}
    for number, token in enumerate(tokens, start=1):
        if token in first_line:
            raise UserError(
                f"{path}:{number}: the token {token!r} is already on line {first_line[token]}. "
                "Token ids would be ambiguous: remove one of the two lines."
            )
        first_line[token] = number
    return tuple(tokens)
