"""Tokenizers, one class per file. `AnyTokenizer` is the union of all in this package."""

from typing import TYPE_CHECKING

from ptm.component import union_of
from ptm.text.tokenizers.base import TokenizerConfig
from ptm.text.tokenizers.tokenizer import Tokenizer

if TYPE_CHECKING:
    AnyTokenizer = TokenizerConfig
else:
    AnyTokenizer = union_of(__name__, TokenizerConfig)

__all__ = ["AnyTokenizer", "Tokenizer", "TokenizerConfig"]
