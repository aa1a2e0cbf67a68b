"""What is done to a text before a decoder has to give it back, one file a kind of noise."""

from ptm.components.objectives.noise.base import Noised, Spans
from ptm.components.objectives.noise.infilling import (
    AnyInfilling,
    GeometricInfilling,
    Infilling,
    PoissonInfilling,
    infilled,
)
from ptm.components.objectives.noise.spans import (
    AnySpanNoise,
    GeometricSpans,
    PaperSpans,
    SpanNoise,
    TokenSpans,
    corrupted,
)

__all__ = [
    "AnyInfilling",
    "AnySpanNoise",
    "GeometricInfilling",
    "GeometricSpans",
    "Infilling",
    "Noised",
    "PaperSpans",
    "PoissonInfilling",
    "SpanNoise",
    "Spans",
    "TokenSpans",
    "corrupted",
    "infilled",
]
