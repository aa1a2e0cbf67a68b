"""Spans of geometric lengths (SpanBERT, Joshi et al. 2019, section 3.1)."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from ptm.arrays import I64, Flags
from ptm.component import PositiveInt
from ptm.components.objectives.masking.base import Maskable, MaskingConfig
from ptm.components.objectives.masking.choosing import basic_units, choose_spans, place_in_example
from ptm.rng import U64


class SpanMasking(MaskingConfig):
    """Spans of tokens, or of whole words; one fate a span."""

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
        units = basic_units(text, whole_words=self.whole_words)
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
        return span_of_token >= 0, place_in_example(text.owner, span_of_token)
