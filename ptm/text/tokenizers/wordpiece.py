"""BERT's WordPiece over a `vocab.txt` (Devlin et al. 2018, section 3)."""

from __future__ import annotations

from typing import Literal

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from ptm.text.tokenizers.files import VocabFileTokenizer
from ptm.text.tokenizers.table_encoder import TableEncoder
from ptm.text.vocabulary import Vocabulary

CONTINUATION = "##"


class WordPiece(VocabFileTokenizer):
    """BERT's tokenizer.

    Text is cleaned, lowercased with `lowercase`, and split at white space, punctuation and around
    Chinese characters; words are then cut greedily into the longest pieces of the vocabulary.
    """

    type: Literal["wordpiece"]

    @property
    def huggingface_class(self) -> str:
        return "BertTokenizer"

    def continues_word(self, token: str) -> bool:
        return token.startswith(CONTINUATION)

    def text_of(self, token: str) -> str:
        # A token that is `##` and nothing else is text.
        return token.removeprefix(CONTINUATION) or token

    def encoder(self, vocabulary: Vocabulary) -> TableEncoder:
        return TableEncoder(self.backend(vocabulary), vocabulary_size=vocabulary.size)

    def backend(self, vocabulary: Vocabulary) -> tokenizers.Tokenizer:
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
