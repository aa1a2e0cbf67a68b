"""Words separated by white space, over a `vocab.txt` of whole words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from ptm.text.tokenizers.files import VocabFileTokenizer
from ptm.text.tokenizers.table_encoder import TableEncoder
from ptm.text.vocabulary import Vocabulary


class Space(VocabFileTokenizer):
    """For text that is already segmented: every word is one token, [UNK] if it is unknown."""

    type: Literal["space"]

    def continues_word(self, token: str) -> bool:
        return False

    def decode_ordinary(self, tokens: Sequence[str]) -> str:
        return " ".join(tokens)

    def backend(self, vocabulary: Vocabulary) -> tokenizers.Tokenizer:
        return self._pipeline(vocabulary.ids, unknown=vocabulary.specials["unk"])

    def encoder(self, vocabulary: Vocabulary) -> TableEncoder:
        unknown = vocabulary.specials["unk"]
        special = {*vocabulary.specials.values()} - {unknown}
        # A special token written in the text must become [UNK]. Its entry gets a space in front,
        # so that no word of the text can match it.
        ids = {f" {t}" if t in special else t: index for t, index in vocabulary.ids.items()}
        pipeline = self._pipeline(ids, unknown=unknown)
        return TableEncoder(pipeline, vocabulary_size=vocabulary.size)

    def _pipeline(self, ids: dict[str, int], *, unknown: str) -> tokenizers.Tokenizer:
        tokenizer = tokenizers.Tokenizer(models.WordLevel(ids, unk_token=unknown))
        if self.lowercase:
            tokenizer.normalizer = normalizers.Lowercase()
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        # No token starts with "\0", so the decoder puts a space between all words.
        tokenizer.decoder = decoders.WordPiece(prefix="\0", cleanup=False)
        return tokenizer
