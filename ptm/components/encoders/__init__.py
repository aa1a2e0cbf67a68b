"""Encoders, one class per file. `AnyEncoder` is their union, collected by scanning this
package."""

from typing import TYPE_CHECKING

from ptm.component import union_of
from ptm.components.encoders.base import Encoder

if TYPE_CHECKING:
    AnyEncoder = Encoder
else:
    AnyEncoder = union_of(__name__, Encoder)

__all__ = ["AnyEncoder", "Encoder"]
