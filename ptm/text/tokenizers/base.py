"""What every tokenizer is: a frozen config that loads its files into one runtime `Tokenizer`."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import tokenizers
from pydantic import Field, field_validator, model_validator

from ptm.component import Config, PositiveInt
from ptm.errors import UserError, nearest
from ptm.text.tokenizers.specials import BERT_SPECIALS, special_roles
from ptm.text.tokenizers.tokenizer import Encoder, PipelineEncoder, Tokenizer
from ptm.text.vocabulary import ROLES, Vocabulary

_FIRST_UNSPACED = "\u2e80"
"""From here on scripts are written without spaces, by and large."""


class TokenizerConfig(Config):
    """The part common to all tokenizers."""

    FILES: ClassVar[tuple[str, ...]] = ()
    """The fields that are paths of its files; the first one is what messages name."""
    SPECIALS: ClassVar[Mapping[str, str]] = BERT_SPECIALS
    """The special tokens where `special_tokens` says nothing else."""
    WORD_MARK: ClassVar[str | None] = None
    """What a piece begins with that begins a word, where pieces say that."""

    type: str
    size: PositiveInt | None = None
    """Number of tokens; lets a recipe be judged without the file, and is checked against it."""
    lowercase: bool = True
    special_tokens: dict[str, str] | str = Field(default_factory=dict)
    """Role to token where they are not the usual ones, or a path of `special_tokens_map.json`."""

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

    @model_validator(mode="after")
    def _names_that_can_lie_in_one_folder(self) -> TokenizerConfig:
        names = [Path(file).name for file in self.input_files]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f'two of the tokenizer\'s files are called "{name}": a run keeps copies of '
                    "them in one folder, so give them different names"
                )
        return self

    @property
    def source(self) -> str:
        """The file that messages name."""
        return str(getattr(self, self.FILES[0]))

    @property
    def input_files(self) -> tuple[str, ...]:
        """Files that must be there to load this tokenizer."""
        maps = (self.special_tokens,) if isinstance(self.special_tokens, str) else ()
        return (*(getattr(self, name) for name in self.FILES), *maps)

    @property
    def is_here(self) -> bool:
        """Whether all its files are on this machine."""
        return all(Path(file).is_file() for file in self.input_files)

    @abstractmethod
    def read(self) -> Vocabulary:
        """The vocabulary. Raises UserError where a file is missing or is not what it should be."""

    @abstractmethod
    def backend(self, vocabulary: Vocabulary) -> tokenizers.Tokenizer:
        """The `tokenizers` pipeline over `vocabulary`, without special tokens in its text."""

    def encoder(self, vocabulary: Vocabulary) -> Encoder:
        """What turns text into ids here."""
        return PipelineEncoder(self.backend(vocabulary))

    def rules(self) -> list[Any]:
        """What changes ids besides the type, the case, the special tokens and the vocabulary."""
        return []

    @abstractmethod
    def continues_word(self, token: str) -> bool:
        """Whether `token` can only stand inside a word."""

    @abstractmethod
    def text_of(self, token: str) -> str:
        """The text that an ordinary token stands for, without marks of words and pieces."""

    def joined(self, tokens: Sequence[str]) -> str:
        """The text that ordinary tokens stand for one after another.

        Here spaces are put back between words of letters and digits; what is written without
        spaces, as Chinese is, gets none.
        """
        text = ""
        for token in tokens:
            piece = self.text_of(token)
            if text and not self.continues_word(token) and self._spaced(text[-1], piece[:1]):
                text += " "
            text += piece
        return text

    @property
    def splits_words(self) -> bool:
        """Whether no token says that it continues a word, so that the segmenter finds them all."""
        return False

    @property
    def mask_takes_space(self) -> bool:
        """Whether the space before a mask belongs to the token that was masked."""
        return False

    @property
    def huggingface_class(self) -> str:
        """The `tokenizer_class` with which transformers gives the same ids.

        This one reads the pipeline itself from tokenizer.json.
        """
        return "PreTrainedTokenizerFast"

    @abstractmethod
    def huggingface_files(self, vocabulary: Vocabulary) -> dict[str, bytes]:
        """The vocabulary's files by the names that transformers looks for."""

    def load(self, *, key: str = "tokenizer") -> Tokenizer:
        """Read the files; `key`: where the recipe has this block.

        Raises UserError where they are missing or do not fit the recipe.
        """
        vocabulary = replace(self.read(), key=key)
        if self.size is not None and self.size != vocabulary.size:
            raise UserError(
                f"{self.source}: has {vocabulary.size} tokens, but the recipe says "
                f"{key}.size: {self.size}. Set {key}.size to {vocabulary.size} or give "
                "the other file."
            )
        if self.lowercase:
            vocabulary.refuse_capitals(self.text_of)
        return Tokenizer(config=self, vocabulary=vocabulary, encoder=self.encoder(vocabulary))

    def _named_specials(self) -> dict[str, str]:
        """Role to token as far as the recipe, or the file that it names, says it."""
        if isinstance(self.special_tokens, dict):
            return self.special_tokens
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
        return special_roles(named)

    @staticmethod
    def _spaced(before: str, after: str) -> bool:
        """Whether a space belongs between two words with these neighbouring characters."""
        closes = before.isalnum() or before in ".,;:!?)"
        return closes and after.isalnum() and max(before, after) < _FIRST_UNSPACED
