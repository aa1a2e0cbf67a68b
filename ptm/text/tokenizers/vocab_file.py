"""The tokenizers whose vocabulary is a `vocab.txt`, one token a line."""

from __future__ import annotations

from typing import ClassVar

from ptm.text.tokenizers.base import TokenizerConfig
from ptm.text.vocabulary import Vocabulary, read_vocabulary


class VocabFileTokenizer(TokenizerConfig):
    """A tokenizer over a `vocab.txt`."""

    FILES: ClassVar[tuple[str, ...]] = ("vocab",)

    vocab: str
    """Path of the vocabulary file, one token a line."""

    def read(self) -> Vocabulary:
        """The file's tokens, of which one stands for all that are unknown."""
        vocabulary = Vocabulary(
            tokens=read_vocabulary(self.vocab),
            specials={**self.SPECIALS, **self._named_specials()},
            source=self.vocab,
        )
        vocabulary.require(("unk",))
        return vocabulary

    def text_of(self, token: str) -> str:
        """The token."""
        return token

    def huggingface_files(self, vocabulary: Vocabulary) -> dict[str, bytes]:
        """The same file."""
        lines = "".join(f"{token}\n" for token in vocabulary.tokens)
        return {"vocab.txt": lines.encode("utf-8")}
