"""Words between white space, over a `vocab.txt` of whole words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from ptm.text.tokenizers.files import VocabFileTokenizer
from ptm.text.tokenizers.tokenizer import PipelineEncoder
from ptm.text.vocabulary import Vocabulary


class Space(VocabFileTokenizer):
    """Text that is segmented already: every word is a token, unknown ones are [UNK]."""

    type: Literal["space"]

    def continues_word(self, token: str) -> bool:
        """Every token is a word."""
        return False

    def joined(self, tokens: Sequence[str]) -> str:
        """Words apart, in any script."""
        return " ".join(tokens)

    def backend(self, vocabulary: Vocabulary) -> tokenizers.Tokenizer:
        """Lowercase if asked, split at white space, look up."""
        return self._pipeline(vocabulary.ids, unknown=vocabulary.specials["unk"])

    def encoder(self, vocabulary: Vocabulary) -> PipelineEncoder:
        """The same, but a word of the text that reads like a special token is unknown."""
        unknown = vocabulary.specials["unk"]
        special = {*vocabulary.specials.values()} - {unknown}
        # No word has a space in it.
        ids = {f" {t}" if t in special else t: index for t, index in vocabulary.ids.items()}
        return PipelineEncoder(self._pipeline(ids, unknown=unknown))

    def _pipeline(self, ids: dict[str, int], *, unknown: str) -> tokenizers.Tokenizer:
        tokenizer = tokenizers.Tokenizer(models.WordLevel(ids, unk_token=unknown))
        if self.lowercase:
            tokenizer.normalizer = normalizers.Lowercase()
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        # No word continues another: all of them are set apart by a space.
        tokenizer.decoder = decoders.WordPiece(prefix="\0", cleanup=False)
        return tokenizer
