"""What every tokenizer is: a frozen config that loads its files into one runtime `Tokenizer`."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import tokenizers
from numpy.typing import NDArray
from pydantic import Field, field_validator

from ptm.component import Config, PositiveInt
from ptm.errors import UserError, nearest
from ptm.text.vocabulary import ROLES, Vocabulary, read_vocabulary

BERT_SPECIALS = {
    "pad": "[PAD]",
    "unk": "[UNK]",
    "cls": "[CLS]",
    "sep": "[SEP]",
    "mask": "[MASK]",
}


class TokenizerConfig(Config):
    """The part common to all tokenizers."""

    type: str
    vocab: str
    """Path of the vocabulary file, one token a line."""
    size: PositiveInt | None = None
    """Number of tokens; lets a recipe be judged without the file, and is checked against it."""
    lowercase: bool = True
    special_tokens: dict[str, str] | str = Field(default_factory=dict)
    """Role to token where they are not BERT's, or the path of a `special_tokens_map.json`."""

    @field_validator("special_tokens")
    @classmethod
    def _known_roles(cls, value: dict[str, str] | str) -> dict[str, str] | str:
        if isinstance(value, dict):
            for role in value:
                if role not in ROLES:
                    raise ValueError(
                        f'"{role}" is no role of a special token.{nearest(role, ROLES)}'
                    )
        return value

    @property
    def input_files(self) -> tuple[str, ...]:
        """Files that must be there to load this tokenizer."""
        maps = (self.special_tokens,) if isinstance(self.special_tokens, str) else ()
        return (self.vocab, *maps)

    @abstractmethod
    def backend(self, vocabulary: Vocabulary) -> tokenizers.Tokenizer:
        """The `tokenizers` pipeline over `vocabulary`, without special tokens in its text."""

    @abstractmethod
    def continues_word(self, token: str) -> bool:
        """Whether `token` can only stand inside a word."""

    @property
    def splits_words(self) -> bool:
        """Whether no token says that it continues a word, so that the segmenter finds them all."""
        return False

    @property
    @abstractmethod
    def huggingface_class(self) -> str:
        """The `tokenizer_class` with which transformers gives the same ids."""

    def load(self) -> Tokenizer:
        """Read the files. Raises UserError where they are missing or do not fit the recipe."""
        vocabulary = Vocabulary(
            tokens=read_vocabulary(self.vocab), specials=self._specials(), source=self.vocab
        )
        if self.size is not None and self.size != vocabulary.size:
            raise UserError(
                f"{self.vocab}: has {vocabulary.size} tokens, but the recipe says tokenizer.size: "
                f"{self.size}. Set tokenizer.size to {vocabulary.size} or give the other file."
            )
        vocabulary.require(("unk",))
        return Tokenizer(config=self, vocabulary=vocabulary, backend=self.backend(vocabulary))

    def _specials(self) -> dict[str, str]:
        if isinstance(self.special_tokens, dict):
            return {**BERT_SPECIALS, **self.special_tokens}
        path = Path(self.special_tokens)
        try:
            named = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path}: cannot be read as a map of special tokens: {error}."
            ) from error
        if not isinstance(named, dict):
            raise UserError(
                f'{path}: is no map of special tokens such as {{"cls_token": "[CLS]"}}.'
            )
        roles = {}
        for key, value in named.items():
            # transformers writes a token as its text, or as an object with the text in it.
            token = value.get("content") if isinstance(value, dict) else value
            if isinstance(token, str) and key.removesuffix("_token") in ROLES:
                roles[key.removesuffix("_token")] = token
        return {**BERT_SPECIALS, **roles}


@dataclass(frozen=True)
class Tokenizer:
    """A loaded tokenizer: text to ids and back."""

    config: TokenizerConfig
    vocabulary: Vocabulary
    backend: tokenizers.Tokenizer

    @cached_property
    def fingerprint(self) -> str:
        """Changes with anything that changes ids: type, case, special tokens, vocabulary."""
        text = json.dumps(
            [
                self.config.type,
                self.config.lowercase,
                sorted(self.vocabulary.specials.items()),
                self.vocabulary.tokens,
            ],
            ensure_ascii=False,
        )
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    @cached_property
    def continuations(self) -> NDArray[np.bool_]:
        """By id: whether the token can only stand inside a word."""
        return np.array([self.config.continues_word(t) for t in self.vocabulary.tokens], dtype=bool)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, without special tokens; special tokens in the text are plain text."""
        encodings = self.backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def encode_with_offsets(
        self, texts: Sequence[str]
    ) -> list[tuple[list[int], list[tuple[int, int]]]]:
        """Ids of each text, and for each id the characters [start, end) it stands for."""
        encodings = self.backend.encode_batch(list(texts), add_special_tokens=False)
        return [(encoding.ids, encoding.offsets) for encoding in encodings]

    def encode_marked(self, text: str) -> list[int]:
        """Ids of `[CLS] text [SEP]` where mask tokens written in the text are mask tokens."""
        specials = self.vocabulary.specials
        pieces = self.encode(text.split(specials["mask"]))
        ids = [self.vocabulary.special_id("cls"), *pieces[0]]
        for piece in pieces[1:]:
            ids += [self.vocabulary.special_id("mask"), *piece]
        return [*ids, self.vocabulary.special_id("sep")]
