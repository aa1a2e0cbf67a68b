"""Whether random choices are drawn anew every epoch, or cycle through a fixed number of drawings.

Static masking is not a code path of its own: it is the seed (seed, epoch mod duplicates, example).
"""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from ptm.arrays import I64
from ptm.component import Config, PositiveInt


class Redraw(Config):
    """The keys `dynamic` and `duplicates` of everything that draws."""

    dynamic: bool = True
    """Draw anew every epoch; false: cycle through `duplicates` fixed drawings."""
    duplicates: PositiveInt = 1

    @model_validator(mode="after")
    def _drawings_are_used(self) -> Self:
        if self.dynamic and self.duplicates > 1:
            raise ValueError(
                f"duplicates = {self.duplicates} has no meaning with dynamic: true, which draws "
                "anew every epoch; set dynamic: false or leave duplicates out"
            )
        return self

    def drawing_of(self, epoch: I64) -> I64:
        """The drawing that each epoch uses."""
        return epoch if self.dynamic else epoch % self.duplicates
