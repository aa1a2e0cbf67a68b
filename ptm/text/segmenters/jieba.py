"""jieba: the segmenter the Chinese whole-word models were trained with."""

from __future__ import annotations

from typing import Literal

from ptm.text.segmenters.base import Cut, Segmenter


class Jieba(Segmenter):
    """jieba in its exact mode, with its model for unknown words."""

    type: Literal["jieba"]

    def load(self) -> Cut:
        """A tokenizer of its own, so that a user dictionary stays with this recipe."""
        import logging

        import jieba

        jieba.setLogLevel(logging.WARNING)
        tokenizer = jieba.Tokenizer()
        dictionary = self.checked_dictionary()
        if dictionary is not None:
            tokenizer.load_userdict(dictionary)
        cut: Cut = tokenizer.cut
        return cut
