"""Noise of the denoising objectives: the changes to a text that a decoder has to undo.

One file per kind; the unions of configs are built by scanning this package.
"""

from typing import TYPE_CHECKING

from ptm.component import union_of
from ptm.components.objectives.noise.infilling import Infilling, infill
from ptm.components.objectives.noise.noised_text import NoisedTexts, Spans
from ptm.components.objectives.noise.spans import SpanNoise, corrupt_spans

if TYPE_CHECKING:
    AnyInfilling = Infilling
    AnySpanNoise = SpanNoise
else:
    AnyInfilling = union_of(__name__, Infilling, tag="lengths")
    AnySpanNoise = union_of(__name__, SpanNoise, tag="spans")

__all__ = [
    "AnyInfilling",
    "AnySpanNoise",
    "Infilling",
    "NoisedTexts",
    "SpanNoise",
    "Spans",
    "corrupt_spans",
    "infill",
]
