"""Masking of independent tokens (RoBERTa, Liu et al. 2019, section 4.1)."""

from __future__ import annotations

from typing import Literal

from ptm.arrays import I64, Flags
from ptm.components.objectives.masking.base import Maskable, MaskingConfig
from ptm.components.objectives.masking.choosing import basic_units, choose_and_group
from ptm.rng import U64


class TokenMasking(MaskingConfig):
    """Masks exactly `max(1, round(rate * n))` of the n maskable tokens of an example.

    At most `max_predictions`.
    """

    unit: Literal["token"] = "token"

    def choose(self, text: Maskable, keys: U64) -> tuple[Flags, I64]:
        units = basic_units(text, whole_words=False)
        return choose_and_group(self, text, units, keys, replace_together=False)
