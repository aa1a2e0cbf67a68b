"""The recipe's `masking` block: which tokens are hidden, shared by all masked objectives.

One file per unit; `Masking` is found by scanning this package.
"""

from typing import TYPE_CHECKING

from ptm.component import union_of
from ptm.components.objectives.masking.base import Maskable, Masked, MaskingConfig

if TYPE_CHECKING:
    Masking = MaskingConfig
else:
    Masking = union_of(__name__, MaskingConfig, tag="unit")

__all__ = ["Maskable", "Masked", "Masking", "MaskingConfig"]
