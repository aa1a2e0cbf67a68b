"""The recipe's `masking` block: which tokens are hidden, shared by all masked objectives.

One file a unit: `Masking` is the union of them.
"""

from typing import Annotated

from pydantic import Field

from ptm.components.objectives.masking.base import Maskable, Masked, MaskingConfig
from ptm.components.objectives.masking.ngram import NgramMasking
from ptm.components.objectives.masking.phrase import PhraseMasking
from ptm.components.objectives.masking.span import SpanMasking
from ptm.components.objectives.masking.token import TokenMasking
from ptm.components.objectives.masking.whole_word import WholeWordMasking

Masking = Annotated[
    TokenMasking | WholeWordMasking | SpanMasking | PhraseMasking | NgramMasking,
    Field(discriminator="unit"),
]

__all__ = [
    "Maskable",
    "Masked",
    "Masking",
    "MaskingConfig",
    "NgramMasking",
    "PhraseMasking",
    "SpanMasking",
    "TokenMasking",
    "WholeWordMasking",
]
