"""Text that is segmented already, or is written with spaces."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import model_validator

from ptm.text.segmenters.base import Cut, Segmenter

_PIECES = re.compile(r"\s+|\S+")


class Space(Segmenter):
    """Words are what stands between spaces."""

    type: Literal["space"]

    @model_validator(mode="after")
    def _no_dictionary(self) -> Space:
        if self.dictionary is not None:
            raise ValueError("`type: space` takes no dictionary: the spaces are the words")
        return self

    def load(self) -> Cut:
        """Runs of white space and of everything else, in turn."""
        return _PIECES.findall
