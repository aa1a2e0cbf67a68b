"""The recipe's `masking` block: which tokens are hidden, shared by all masked objectives."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from ptm.component import Config, PositiveInt, Probability
from ptm.data.masking import (
    Flags,
    Replacement,
    Units,
    choose_spans,
    choose_units,
    replace_tokens,
    token_units,
    word_units,
)
from ptm.data.store import I64
from ptm.rng import U64, seed_of, stream_keys
from ptm.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class Maskable:
    """The tokens of a batch, one after another: ids (N), whether special (N), owner (N)."""

    ids: I64
    special: Flags
    word_starts: Flags | None
    owner: I64
    examples: int


@dataclass(frozen=True)
class Masked:
    """Input ids (N), and which tokens are to be predicted (N)."""

    inputs: I64
    predicted: Flags


class _Masking(Config):
    unit: str
    rate: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of an example's ordinary tokens that is predicted."""
    mask: Probability = 0.8
    """Share of the predicted tokens that becomes the mask token."""
    random: Probability = 0.1
    """Share that becomes a random ordinary token; the rest is kept."""
    max_predictions: PositiveInt | None = None
    """The most tokens predicted in one example (BERT's max_predictions_per_seq)."""
    dynamic: bool = True
    """Draw anew every epoch; false: cycle through `duplicates` fixed patterns."""
    duplicates: PositiveInt = 1

    @model_validator(mode="after")
    def _consistent(self) -> _Masking:
        if self.mask + self.random > 1 + 1e-9:
            raise ValueError(f"mask = {self.mask} and random = {self.random} are more than 1")
        if self.dynamic and self.duplicates > 1:
            raise ValueError(
                f"duplicates = {self.duplicates} has no meaning with dynamic: true, which draws "
                "anew every epoch; set dynamic: false or leave duplicates out"
            )
        return self

    @property
    def needs_word_starts(self) -> bool:
        """Whether the store must know where words begin."""
        return False

    @abstractmethod
    def choose(self, text: Maskable, keys: U64) -> tuple[Flags, I64]:
        """Which tokens are predicted (N), and the group of each that shares one fate (N)."""

    def pattern(self, epoch: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which drawing an epoch uses."""
        return epoch if self.dynamic else epoch % self.duplicates

    def apply(
        self,
        text: Maskable,
        *,
        example: I64,
        epoch: I64,
        seed: int,
        purpose: str,
        vocabulary: Vocabulary,
    ) -> Masked:
        """Mask every example as its index (E), epoch (E) and `seed` say."""
        keys = stream_keys(seed_of(seed, "masking", purpose), self.pattern(epoch), example)
        predicted, group = self.choose(text, keys)
        replacement = Replacement(
            mask_share=self.mask,
            random_share=self.random,
            mask_id=vocabulary.special_id("mask"),
            ordinary_ids=vocabulary.ordinary_ids,
        )
        inputs = replace_tokens(text.ids, predicted, group, text.owner, keys, replacement)
        return Masked(inputs, predicted)


class TokenMasking(_Masking):
    """Tokens one by one, exactly `max(1, round(rate * n))` of them."""

    unit: Literal["token"] = "token"

    def choose(self, text: Maskable, keys: U64) -> tuple[Flags, I64]:
        """Every maskable token is a unit."""
        units = token_units(~text.special, text.owner, text.examples)
        chosen = choose_units(units, keys, rate=self.rate, limit=self.max_predictions)
        return _of_tokens(units, chosen), _place_in_example(text.owner)


class WholeWordMasking(_Masking):
    """Whole words, as the store's word starts say."""

    unit: Literal["whole_word"]
    per: Literal["token", "word"] = "token"
    """Whether masked, random or kept is decided for each token, or once a word."""

    @property
    def needs_word_starts(self) -> bool:
        """Words are found on the text, when the store is made."""
        return True

    def choose(self, text: Maskable, keys: U64) -> tuple[Flags, I64]:
        """Every word is a unit."""
        assert text.word_starts is not None, "the store has no word starts"
        units = word_units(~text.special, text.word_starts, text.owner, text.examples)
        chosen = choose_units(units, keys, rate=self.rate, limit=self.max_predictions)
        group = units.of_token if self.per == "word" else None
        return _of_tokens(units, chosen), _place_in_example(text.owner, group)


class SpanMasking(_Masking):
    """Spans of tokens, or of whole words, of geometric lengths; one fate a span."""

    unit: Literal["span"]
    geometric_p: Annotated[float, Field(gt=0, lt=1)] = 0.2
    max_length: PositiveInt = 10
    whole_words: bool = False
    """Whether spans are made of whole words, their lengths counted in words."""

    @property
    def needs_word_starts(self) -> bool:
        """Only where spans are made of words."""
        return self.whole_words

    def choose(self, text: Maskable, keys: U64) -> tuple[Flags, I64]:
        """Spans over token units or word units."""
        if self.whole_words:
            assert text.word_starts is not None, "the store has no word starts"
            units = word_units(~text.special, text.word_starts, text.owner, text.examples)
        else:
            units = token_units(~text.special, text.owner, text.examples)
        spans = choose_spans(
            units,
            keys,
            rate=self.rate,
            limit=self.max_predictions,
            p=self.geometric_p,
            longest=self.max_length,
        )
        inside = units.of_token >= 0
        span_of_token = np.full(units.of_token.size, -1, dtype=np.int64)
        span_of_token[inside] = spans[units.of_token[inside]]
        return span_of_token >= 0, _place_in_example(text.owner, span_of_token)


Masking = Annotated[TokenMasking | WholeWordMasking | SpanMasking, Field(discriminator="unit")]


def _of_tokens(units: Units, chosen: Flags) -> Flags:
    """Flags of units as flags of tokens."""
    flags = np.zeros(units.of_token.size, dtype=bool)
    inside = units.of_token >= 0
    flags[inside] = chosen[units.of_token[inside]]
    return flags


def _place_in_example(owner: I64, group: I64 | None = None) -> I64:
    """A number for each token that does not depend on the examples around it.

    Tokens of one `group` (global numbers, ascending) get the place of the group's first token.
    """
    place = np.arange(owner.size) - np.searchsorted(owner, owner, side="left")
    if group is None:
        return place
    first = np.full(int(group.max(initial=-1)) + 1, owner.size, dtype=np.int64)
    inside = group >= 0
    np.minimum.at(first, group[inside], np.flatnonzero(inside))
    shared = place.copy()
    shared[inside] = place[first[group[inside]]]
    return shared
