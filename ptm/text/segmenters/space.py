"""Words separated by spaces, for text that is already segmented."""

from __future__ import annotations

import re
from typing import ClassVar, Literal

from pydantic import model_validator

from ptm.text.segmenters.base import Segmenter, SegmentFunction

_PIECES = re.compile(r"\s+|\S+")


class Space(Segmenter):
    """Splits at white space; the spaces are returned as items of their own."""

    CUTS_AT_NEWLINES: ClassVar[bool] = True

    type: Literal["space"]

    @model_validator(mode="after")
    def _no_dictionary(self) -> Space:
        if self.dictionary is not None:
            raise ValueError(
                "type: space supports no user dictionary, because spaces separate the words. "
                "Remove dictionary."
            )
        return self

    def load(self) -> SegmentFunction:
        return _PIECES.findall
