"""Whole word masking (Cui et al. 2019); words are given by the store's word starts."""

from __future__ import annotations

from typing import Literal

from ptm.arrays import I64, Flags
from ptm.components.objectives.masking.base import Maskable, MaskingConfig
from ptm.components.objectives.masking.choosing import basic_units, choose_and_group
from ptm.rng import U64


class WholeWordMasking(MaskingConfig):
    """Masks words drawn at random until `rate` of the example's tokens is predicted."""

    unit: Literal["whole_word"]
    replace_per: Literal["token", "word"] = "token"
    """Whether mask, random or unchanged is drawn once per token or once per word."""

    @property
    def needs_word_starts(self) -> bool:
        return True

    def choose(self, text: Maskable, keys: U64) -> tuple[Flags, I64]:
        units = basic_units(text, whole_words=True)
        return choose_and_group(
            self, text, units, keys, replace_together=self.replace_per == "word"
        )
