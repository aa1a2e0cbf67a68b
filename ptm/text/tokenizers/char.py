"""One token per character, over a `vocab.txt`."""

from __future__ import annotations

from typing import Literal

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers

from ptm.text.tokenizers.files import VocabFileTokenizer
from ptm.text.tokenizers.table_encoder import TableEncoder
from ptm.text.vocabulary import Vocabulary


class Char(VocabFileTokenizer):
    """Every character that is not white space is a token; unknown ones are [UNK]."""

    type: Literal["char"]

    @property
    def has_unmarked_pieces(self) -> bool:
        return True

    def continues_word(self, token: str) -> bool:
        return False

    def encoder(self, vocabulary: Vocabulary) -> TableEncoder:
        return TableEncoder(self.backend(vocabulary), vocabulary_size=vocabulary.size)

    def backend(self, vocabulary: Vocabulary) -> tokenizers.Tokenizer:
        tokenizer = tokenizers.Tokenizer(
            models.WordLevel(vocabulary.ids, unk_token=vocabulary.specials["unk"])
        )
        steps: list[normalizers.Normalizer] = [
            normalizers.BertNormalizer(
                clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False
            )
        ]
        if self.lowercase:
            steps.append(normalizers.Lowercase())
        tokenizer.normalizer = normalizers.Sequence(steps)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex("."), "isolated")]
        )
        tokenizer.decoder = decoders.Fuse()
        return tokenizer
