"""Masking of a lexicon's phrases and entities (ERNIE, Sun et al. 2019, 1904.09223, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

import numpy as np
from pydantic import PrivateAttr, model_validator

from ptm.arrays import I64, Flags
from ptm.component import Config, NonNegativeFloat
from ptm.components.objectives.masking.base import Maskable, MaskingConfig
from ptm.components.objectives.masking.choosing import choose_and_group, choose_level
from ptm.components.objectives.masking.grouping import inner_phrase_tokens
from ptm.components.objectives.masking.lexicon import Lexicon, read_lexicon
from ptm.components.objectives.masking.units import word_units
from ptm.rng import U64
from ptm.text.tokenizers import Tokenizer


class LevelWeights(Config):
    """Relative probability that an example is masked at each level."""

    token: NonNegativeFloat = 1.0
    """Weight of masking single tokens."""
    phrase: NonNegativeFloat = 1.0
    """Weight of masking phrases of the lexicon."""
    entity: NonNegativeFloat = 0.0
    """Weight of masking entities."""


class PhraseMasking(MaskingConfig):
    """Masks at basic, phrase or entity level, drawn from `weights` each time an example is masked.

    The paper trains at one level after the other; this class mixes the levels in every epoch. The
    units of level `token` are tokens (words with `whole_words`). The units of level `phrase` are
    the matches of `lexicon` and the tokens (words) between them; those of level `entity` are the
    matches of `entities` and the tokens (words) between them. Units are drawn uniformly at every
    level until `rate` of the tokens is predicted, so tokens outside phrases are predicted as often
    as at the basic level.
    """

    unit: Literal["phrase"]
    lexicon: str
    """Path of a file with one phrase per line."""
    entities: str | None = None
    """Path of a file with one name of a person, place, organisation or product per line."""
    weights: LevelWeights = LevelWeights()
    whole_words: bool = False
    """Whether the units outside phrases are words instead of tokens. Phrases then match whole words
    only."""
    replace_per: Literal["token", "word"] = "token"
    """Whether mask, random or unchanged is drawn once per token or once per unit (`word`)."""

    _lexicons: tuple[Lexicon, ...] = PrivateAttr(default=())

    @model_validator(mode="after")
    def _check_levels(self) -> PhraseMasking:
        weights = self.weights
        if weights.phrase == 0 and weights.entity == 0:
            raise ValueError(
                "weights.phrase and weights.entity are both 0, so no phrase would ever be "
                "masked. Set one of them above 0 or set unit: token."
            )
        if (self.entities is None) != (weights.entity == 0):
            raise ValueError(
                f"entities = {self.entities} and weights.entity = {weights.entity:g} contradict "
                "each other. Set both (entities to a file, weights.entity above 0) or neither."
            )
        return self

    @property
    def needs_word_starts(self) -> bool:
        return self.whole_words

    @property
    def input_files(self) -> Mapping[str, str]:
        entities = {} if self.entities is None else {"entities": self.entities}
        return {"lexicon": self.lexicon, **entities}

    @property
    def fingerprint(self) -> str:
        assert self._lexicons, "the lexicons have not been read"
        return "-".join(lexicon.fingerprint for lexicon in self._lexicons)

    def with_files(self, tokenizer: Tokenizer) -> Self:
        if self._lexicons:
            return self
        ready = self.model_copy()
        ready._lexicons = tuple(read_lexicon(path, tokenizer) for path in self.input_files.values())
        return ready

    def choose(self, text: Maskable, keys: U64) -> tuple[Flags, I64]:
        assert self._lexicons, "the lexicons have not been read"
        weights = self.weights
        # The level of each token's example (N): 0 token, 1 phrase, 2 entity.
        level = choose_level(keys, (weights.token, weights.phrase, weights.entity))[text.owner]
        begins = np.ones(text.ids.size, dtype=bool)
        if self.whole_words:
            assert text.word_starts is not None, "the store has no word starts"
            begins = text.word_starts
        # A phrase is within one segment (N): the tokens between two special tokens or examples.
        segment_begins = text.special.copy()
        segment_begins[1:] |= text.owner[1:] != text.owner[:-1]
        segment = np.cumsum(segment_begins)
        # Tokens inside a phrase but not at its start (N): they start no unit of their own.
        inner = np.zeros(text.ids.size, dtype=bool)
        for number, lexicon in enumerate(self._lexicons, start=1):
            mine = ~text.special & (level == number)
            inner |= inner_phrase_tokens(
                lexicon.phrases,
                text.ids,
                np.where(mine, segment, -1),
                begins if self.whole_words else ~lexicon.continuations[text.ids],
            )
        units = word_units(~text.special, begins & ~inner, text.owner, text.examples)
        return choose_and_group(
            self, text, units, keys, replace_together=self.replace_per == "word"
        )
