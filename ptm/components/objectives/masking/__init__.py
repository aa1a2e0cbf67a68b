"""The recipe's `masking` block, shared by all masked objectives: which tokens are predicted.

One file per masking unit. `Masking` is the union of all of them, collected by scanning this
package.
"""

from typing import TYPE_CHECKING

from ptm.component import union_of
from ptm.components.objectives.masking.base import Maskable, Masked, MaskingConfig

if TYPE_CHECKING:
    Masking = MaskingConfig
else:
    Masking = union_of(__name__, MaskingConfig, tag="unit")

__all__ = ["Maskable", "Masked", "Masking", "MaskingConfig"]
