"""The key `template` of objectives that read texts: the special tokens around and between them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ptm.component import Config
from ptm.data.row_template import RowTemplate


class Template(Config):
    """The special tokens of an example.

    Fine-tuned models of other programs have been trained with those of their family: RoBERTa and
    BART with two separators, T5 without [CLS], GPT-2 without any.
    """

    start: bool = True
    """Whether [CLS] comes before the first text."""
    separators: Annotated[int, Field(ge=0, le=2)] = 1
    """Number of [SEP] between the texts of a pair."""
    end: bool = True
    """Whether [SEP] comes after the last text."""

    @property
    def row(self) -> RowTemplate:
        """The same as plain data."""
        return RowTemplate(self.start, self.separators, self.end)
