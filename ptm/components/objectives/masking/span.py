"""Masking of spans with geometric lengths (SpanBERT, Joshi et al. 2019, section 3.1)."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from ptm.arrays import I64, Flags
from ptm.component import SpanLength
from ptm.components.objectives.masking.base import Maskable, MaskingConfig
from ptm.components.objectives.masking.choosing import (
    basic_units,
    choose_spans,
    position_in_example,
)
from ptm.rng import U64


class SpanMasking(MaskingConfig):
    """Masks spans of tokens or of whole words. Mask, random or unchanged is drawn once per span."""

    unit: Literal["span"]
    geometric_p: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Parameter p of the geometric distribution of span lengths."""
    max_length: SpanLength = 10
    """Length at which the distribution is truncated."""
    whole_words: bool = False
    """Whether spans consist of whole words, with lengths counted in words instead of tokens."""

    @property
    def needs_word_starts(self) -> bool:
        return self.whole_words

    def choose(self, text: Maskable, keys: U64) -> tuple[Flags, I64]:
        units = basic_units(text, whole_words=self.whole_words)
        spans = choose_spans(
            units,
            keys,
            rate=self.rate,
            limit=self.max_predictions,
            p=self.geometric_p,
            longest=self.max_length,
        )
        # From the span of each unit (U) to the span of each token (N), -1 outside spans.
        inside = units.of_token >= 0
        span_of_token = np.full(units.of_token.size, -1, dtype=np.int64)
        span_of_token[inside] = spans[units.of_token[inside]]
        return span_of_token >= 0, position_in_example(text.owner, span_of_token)
