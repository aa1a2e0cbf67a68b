"""Decoders, one class per file. `AnyDecoder` is their union, collected by scanning this package."""

from typing import TYPE_CHECKING

from ptm.component import union_of
from ptm.components.decoders.base import Decoder

if TYPE_CHECKING:
    AnyDecoder = Decoder
else:
    AnyDecoder = union_of(__name__, Decoder)

__all__ = ["AnyDecoder", "Decoder"]
