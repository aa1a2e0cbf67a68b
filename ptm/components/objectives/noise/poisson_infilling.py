"""BART's infilling: spans of Poisson length (Lewis et al. 2019, section 2.2)."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ptm.components.objectives.noise.infilling import Infilling
from ptm.components.objectives.noise.sampling import poisson_table


class PoissonInfilling(Infilling):
    """Spans of Poisson length; some are empty."""

    lengths: Literal["poisson"] = "poisson"
    mean_length: Annotated[float, Field(ge=2, le=100)] = 3.0
    """Mean of the Poisson distribution of span lengths, in tokens."""

    @property
    def table(self) -> NDArray[np.float64]:
        return poisson_table(self.mean_length)
