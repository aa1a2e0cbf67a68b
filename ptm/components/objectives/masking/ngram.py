"""Masking of n-grams (ALBERT, Lan et al. 2019, section 4.1)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ptm.arrays import I64, Flags
from ptm.components.objectives.masking.base import Maskable, MaskingConfig
from ptm.components.objectives.masking.choosing import basic_units, choose_and_group, ngram_keys
from ptm.components.objectives.masking.grouping import ngram_units
from ptm.rng import U64


class NgramMasking(MaskingConfig):
    """Masks n-grams drawn until `rate` of the tokens is predicted; p(n) is proportional to 1/n.

    p(n) = (1/n) / (1/1 + ... + 1/max_ngram). Each time an example is masked, it is first cut into
    consecutive n-grams with lengths drawn from p(n), and then whole n-grams are chosen at random.
    So the chosen n-grams have these lengths too, and never overlap.
    """

    unit: Literal["ngram"]
    max_ngram: Annotated[int, Field(ge=1, le=100)] = 3
    """Length of the longest n-gram. An n-gram of length n has the weight 1/n."""
    whole_words: bool = False
    """Whether n counts whole words instead of tokens."""
    replace_per: Literal["token", "word"] = "token"
    """Whether mask, random or unchanged is drawn once per token or once per n-gram (`word`)."""

    @property
    def needs_word_starts(self) -> bool:
        return self.whole_words

    def choose(self, text: Maskable, keys: U64) -> tuple[Flags, I64]:
        basic = basic_units(text, whole_words=self.whole_words)
        units = ngram_units(basic, ngram_keys(keys), self.max_ngram)
        return choose_and_group(
            self, text, units, keys, replace_together=self.replace_per == "word"
        )
