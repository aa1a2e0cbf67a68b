"""Infilling with spans of truncated geometric length."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ptm.component import SpanLength
from ptm.components.objectives.noise.infilling import Infilling
from ptm.components.objectives.noise.sampling import geometric_table


class GeometricInfilling(Infilling):
    """Spans of truncated geometric length; none is empty."""

    lengths: Literal["geometric"]
    geometric_p: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Parameter of the geometric distribution of span lengths."""
    max_length: SpanLength = 3
    """Longest span, in tokens."""

    @property
    def table(self) -> NDArray[np.float64]:
        return geometric_table(self.geometric_p, self.max_length)
