"""The recipe's `masking` block: which tokens are hidden, shared by all masked objectives.

One file a unit: `Masking` is the union of them.
"""

from typing import Annotated

from pydantic import Field

from ptm.objectives.masking.contract import Maskable, Masked, MaskingConfig
from ptm.objectives.masking.ngram import NgramMasking
from ptm.objectives.masking.phrase import PhraseMasking
from ptm.objectives.masking.span import SpanMasking
from ptm.objectives.masking.token import TokenMasking
from ptm.objectives.masking.whole_word import WholeWordMasking

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
