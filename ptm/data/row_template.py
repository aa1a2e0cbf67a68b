"""The special tokens around and between the texts of an example."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RowTemplate:
    """`[CLS] a [SEP]`, or `[CLS] a [SEP] b [SEP]`, and the variants of other families."""

    start: bool = True
    """Whether [CLS] comes before the first text."""
    separators: int = 1
    """Number of [SEP] between two texts."""
    end: bool = True
    """Whether [SEP] comes after the last text."""

    def count(self, texts: int) -> int:
        """Number of special tokens that an example of so many texts has."""
        return self.start + self.separators * (texts - 1) + self.end


USUAL = RowTemplate()
"""BERT's special tokens (Devlin et al. 2018, figure 4)."""
