"""Word segmenters: one class in one file each; `AnySegmenter` is found by scanning."""

from typing import TYPE_CHECKING

from ptm.component import union_of
from ptm.text.segmenters.base import Segmenter

if TYPE_CHECKING:
    AnySegmenter = Segmenter
else:
    AnySegmenter = union_of(__name__, Segmenter)

__all__ = ["AnySegmenter", "Segmenter"]
