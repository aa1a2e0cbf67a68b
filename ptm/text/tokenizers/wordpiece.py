"""BERT's WordPiece over a `vocab.txt` (Devlin et al. 2018, section 3)."""

from __future__ import annotations

from typing import Literal

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from ptm.text.tokenizers.files import VocabFileTokenizer
from ptm.text.vocabulary import Vocabulary

CONTINUATION = "##"


class WordPiece(VocabFileTokenizer):
    """Text is cleaned, lowercased if asked, Chinese characters stand alone, words are cut."""

    type: Literal["wordpiece"]

    @property
    def huggingface_class(self) -> str:
        """transformers' class with the same ids."""
        return "BertTokenizer"

    def continues_word(self, token: str) -> bool:
        """`##x` continues a word."""
        return token.startswith(CONTINUATION)

    def text_of(self, token: str) -> str:
        """Without `##`, which a token of that alone is not."""
        return token.removeprefix(CONTINUATION) or token

    def backend(self, vocabulary: Vocabulary) -> tokenizers.Tokenizer:
        """BERT's normaliser and pre-tokeniser around greedy longest-match WordPiece."""
        tokenizer = tokenizers.Tokenizer(
            models.WordPiece(
                vocabulary.ids,
                unk_token=vocabulary.specials["unk"],
                continuing_subword_prefix=CONTINUATION,
                max_input_chars_per_word=100,
            )
        )
        tokenizer.normalizer = normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=True,
            strip_accents=self.lowercase,
            lowercase=self.lowercase,
        )
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece(prefix=CONTINUATION)
        return tokenizer
