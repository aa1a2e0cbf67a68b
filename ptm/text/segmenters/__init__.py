"""Word segmenters, one class per file. `AnySegmenter` is the union of all in this package."""

from typing import TYPE_CHECKING

from ptm.component import union_of
from ptm.text.segmenters.base import Segmenter

if TYPE_CHECKING:
    AnySegmenter = Segmenter
else:
    AnySegmenter = union_of(__name__, Segmenter)

__all__ = ["AnySegmenter", "Segmenter"]
