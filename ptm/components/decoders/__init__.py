"""Decoders: one class in one file each; `AnyDecoder` is found by scanning this package."""

from typing import TYPE_CHECKING

from ptm.component import union_of
from ptm.components.decoders.base import Decoder

if TYPE_CHECKING:
    AnyDecoder = Decoder
else:
    AnyDecoder = union_of(__name__, Decoder)

__all__ = ["AnyDecoder", "Decoder"]
