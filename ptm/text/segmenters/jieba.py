"""jieba: the segmenter with which the Chinese whole-word-masking models were trained."""

from __future__ import annotations

import io
from typing import Literal

from ptm.text.segmenters.base import Segmenter, SegmentFunction


class Jieba(Segmenter):
    """jieba in exact mode, with its HMM for unknown words."""

    type: Literal["jieba"]

    def load(self) -> SegmentFunction:
        import logging

        import jieba

        jieba.setLogLevel(logging.WARNING)
        # A separate tokenizer: the module's global one would keep the user dictionary.
        tokenizer = jieba.Tokenizer()
        dictionary = self.dictionary_text()
        if dictionary is not None:
            tokenizer.load_userdict(io.StringIO(dictionary))
        cut: SegmentFunction = tokenizer.cut
        return cut
