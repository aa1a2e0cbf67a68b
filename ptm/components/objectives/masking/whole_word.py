"""Whole words, as the store's word starts say (Cui et al. 2019)."""

from __future__ import annotations

from typing import Literal

from ptm.arrays import I64, Flags
from ptm.components.objectives.masking.base import Maskable, MaskingConfig
from ptm.components.objectives.masking.choosing import basic_units, chosen_groups
from ptm.rng import U64


class WholeWordMasking(MaskingConfig):
    """Words, drawn until the budget of tokens is met."""

    unit: Literal["whole_word"]
    per: Literal["token", "word"] = "token"
    """Whether masked, random or kept is decided for each token, or once a word."""

    @property
    def needs_word_starts(self) -> bool:
        """Words are found on the text, when the store is made."""
        return True

    def choose(self, text: Maskable, keys: U64) -> tuple[Flags, I64]:
        """Every word is a unit."""
        units = basic_units(text, whole_words=True)
        return chosen_groups(self, text, units, keys, one_fate=self.per == "word")
