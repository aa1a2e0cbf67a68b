"""Phrases and entities of a lexicon (ERNIE, Sun et al. 2019, 1904.09223, section 3.2)."""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
from pydantic import PrivateAttr, model_validator

from ptm.arrays import I64, Flags
from ptm.component import Config, NonNegativeFloat
from ptm.components.objectives.masking.base import Maskable, MaskingConfig
from ptm.components.objectives.masking.choosing import choose_level, chosen_groups
from ptm.components.objectives.masking.grouping import phrase_tokens
from ptm.components.objectives.masking.lexicon import Lexicon, read_lexicon
from ptm.components.objectives.masking.units import word_units
from ptm.rng import U64
from ptm.text.tokenizers import Tokenizer


class LevelWeights(Config):
    """How often an example is masked at each level, relative to the others."""

    token: NonNegativeFloat = 1.0
    phrase: NonNegativeFloat = 1.0
    entity: NonNegativeFloat = 0.0


class PhraseMasking(MaskingConfig):
    """Basic, phrase and entity level: one for each example and drawing, drawn by `weights`.

    The paper trains at one level after the other; here every epoch mixes them. At the level
    `token` the units are tokens (words with `whole_words`), at `phrase` the matches of the lexicon
    and the tokens (words) between them, at `entity` those of the entities. Units are drawn alike
    at every level, until the budget of tokens is met, so that what is in no phrase is predicted as
    often as at the basic level.
    """

    unit: Literal["phrase"]
    lexicon: str
    """Path of the phrases, one a line."""
    entities: str | None = None
    """Path of the names of people, places, organisations, products, one a line."""
    weights: LevelWeights = LevelWeights()
    whole_words: bool = False
    """Whether words, instead of tokens, stand beside phrases, which then begin and end with words.
    """
    per: Literal["token", "word"] = "token"
    """Whether masked, random or kept is decided for each token, or once a unit (`word`)."""

    _lexicons: tuple[Lexicon, ...] = PrivateAttr(default=())

    @model_validator(mode="after")
    def _levels_have_their_files(self) -> PhraseMasking:
        weights = self.weights
        if weights.phrase == 0 and weights.entity == 0:
            raise ValueError(
                "weights.phrase and weights.entity are 0, so that no phrase would ever be masked: "
                "give one of them a weight, or set unit: token"
            )
        if (self.entities is None) != (weights.entity == 0):
            raise ValueError(
                f"entities = {self.entities} and weights.entity = {weights.entity:g} do not go "
                "together: give a file and a weight above 0, or neither"
            )
        return self

    @property
    def needs_word_starts(self) -> bool:
        """Only where words stand beside phrases."""
        return self.whole_words

    @property
    def input_files(self) -> tuple[str, ...]:
        """The lexicons."""
        return (self.lexicon,) if self.entities is None else (self.lexicon, self.entities)

    @property
    def fingerprint(self) -> str:
        """Of the phrases as the tokenizer reads them."""
        assert self._lexicons, "the lexicons have not been read"
        return "-".join(lexicon.fingerprint for lexicon in self._lexicons)

    def prepared(self, tokenizer: Tokenizer) -> Self:
        """With the lexicons read; the same again where they have been."""
        if self._lexicons:
            return self
        ready = self.model_copy()
        ready._lexicons = tuple(read_lexicon(path, tokenizer) for path in self.input_files)
        return ready

    def choose(self, text: Maskable, keys: U64) -> tuple[Flags, I64]:
        """Phrases or entities of the example's level, and words or tokens, are the units."""
        assert self._lexicons, "the lexicons have not been read"
        weights = self.weights
        level = choose_level(keys, (weights.token, weights.phrase, weights.entity))[text.owner]
        begins = np.ones(text.ids.size, dtype=bool)
        if self.whole_words:
            assert text.word_starts is not None, "the store has no word starts"
            begins = text.word_starts
        broken = text.special.copy()
        broken[1:] |= text.owner[1:] != text.owner[:-1]
        segment = np.cumsum(broken)
        inner = np.zeros(text.ids.size, dtype=bool)
        for number, lexicon in enumerate(self._lexicons, start=1):
            mine = ~text.special & (level == number)
            inner |= phrase_tokens(
                lexicon.phrases,
                text.ids,
                np.where(mine, segment, -1),
                begins if self.whole_words else ~lexicon.continuations[text.ids],
            )
        units = word_units(~text.special, begins & ~inner, text.owner, text.examples)
        return chosen_groups(self, text, units, keys, one_fate=self.per == "word")
