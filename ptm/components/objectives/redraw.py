"""Random choices that are new in every epoch or cycle through a fixed number of variants.

Static masking has no code path of its own: it is the seed (seed, epoch mod duplicates, example).
"""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from ptm.arrays import I64
from ptm.component import Config, PositiveInt


class Redraw(Config):
    """The recipe keys `dynamic` and `duplicates`, shared by all randomised components."""

    dynamic: bool = True
    """Draw new random choices every epoch; false: cycle through `duplicates` fixed variants."""
    duplicates: PositiveInt = 1
    """With `dynamic: false`: the number of different variants that epochs cycle through."""

    @model_validator(mode="after")
    def _duplicates_are_used(self) -> Self:
        if self.dynamic and self.duplicates > 1:
            raise ValueError(
                f"duplicates = {self.duplicates} has no effect with dynamic: true, which draws a "
                "new variant every epoch. Set dynamic: false or remove duplicates."
            )
        return self

    def variant_of(self, epoch: I64) -> I64:
        """Return the variant that each epoch uses."""
        return epoch if self.dynamic else epoch % self.duplicates
