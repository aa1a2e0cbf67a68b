"""The base class of tokenizer configs; `load` reads the files and returns a `Tokenizer`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import tokenizers
from pydantic import Field, field_validator, model_validator

from ptm.component import Config, PositiveInt
from ptm.errors import UserError, nearest
from ptm.files.user_files import read_json
from ptm.text.tokenizers.specials import BERT_SPECIALS, special_roles, with_counterparts
from ptm.text.tokenizers.tokenizer import PipelineEncoder, TokenEncoder, Tokenizer
from ptm.text.vocabulary import COUNTERPARTS, ROLES, Vocabulary

_ROLES = (*ROLES, *COUNTERPARTS)
_FIRST_UNSPACED = "\u2e80"
"""Scripts from this code point on are mostly written without spaces."""


class TokenizerConfig(Config):
    """The fields and methods common to all tokenizers."""

    FILES: ClassVar[tuple[str, ...]] = ()
    """Names of the fields that are paths of vocabulary files; messages name the first file."""
    SPECIALS: ClassVar[Mapping[str, str]] = BERT_SPECIALS
    """The default special tokens, by role."""
    WORD_MARK: ClassVar[str | None] = None
    """The prefix of pieces that start a word; None if pieces carry no such mark."""

    type: str
    size: PositiveInt | None = None
    """Number of tokens. Allows checking a recipe without the file; must agree with the file."""
    lowercase: bool | None = None
    """Whether text is lowercased before it is tokenised; None if the tokenizer's file decides."""
    special_tokens: dict[str, str] | str = Field(default_factory=dict)
    """Map of roles to tokens, for the tokens that differ from the defaults; or the path of a
    special_tokens_map.json."""

    @field_validator("special_tokens")
    @classmethod
    def _known_roles(cls, value: dict[str, str] | str) -> dict[str, str] | str:
        if isinstance(value, dict):
            for role in value:
                if role not in _ROLES:
                    raise ValueError(
                        f'"{role}" is not a role of a special token.{nearest(role, _ROLES)}'
                    )
        return value

    @model_validator(mode="after")
    def _distinct_file_names(self) -> TokenizerConfig:
        names = [Path(file).name for file in self.input_files.values()]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f'two of the tokenizer\'s files have the name "{name}". A run copies them into '
                    "one folder. Give them different names."
                )
        return self

    @property
    def source(self) -> str:
        """Path of the vocabulary file that messages name."""
        return str(getattr(self, self.FILES[0]))

    @property
    def input_files(self) -> Mapping[str, str]:
        """Paths of the files that are read when this tokenizer is loaded, by field."""
        files = {name: str(getattr(self, name)) for name in self.FILES}
        if isinstance(self.special_tokens, str):
            files["special_tokens"] = self.special_tokens
        return files

    @property
    def files_exist(self) -> bool:
        """Whether all of `input_files` exist on this machine."""
        return all(Path(file).is_file() for file in self.input_files.values())

    @abstractmethod
    def read(self) -> Vocabulary:
        """Read the vocabulary. Raises UserError if a file is missing or malformed."""

    @abstractmethod
    def backend(self, vocabulary: Vocabulary) -> tokenizers.Tokenizer:
        """The pipeline of the `tokenizers` library, which is exported as `tokenizer.json`.

        It does not recognise special tokens in the text.
        """

    def encoder(self, vocabulary: Vocabulary) -> TokenEncoder:
        """The encoder that turns text into ids; by default the `backend` pipeline."""
        return PipelineEncoder(self.backend(vocabulary))

    def fingerprint_extras(self) -> list[Any]:
        """Other settings that change the ids, as JSON values; part of the tokenizer's fingerprint.

        Besides type, `lowercase`, special tokens and vocabulary, which are always part of it.
        """
        return []

    @property
    def probes(self) -> Sequence[str]:
        """Texts on which a pipeline of this tokenizer could err, to compare it with others."""
        return ()

    @abstractmethod
    def continues_word(self, token: str) -> bool:
        """Whether `token` can only be inside a word, never at its start."""

    @abstractmethod
    def text_of(self, token: str) -> str:
        """The text of an ordinary token, without word and piece marks."""

    def decode_ordinary(self, tokens: Sequence[str]) -> str:
        """Decode a sequence of ordinary tokens to text.

        By default spaces are put between words of letters and digits, except in scripts that are
        written without spaces, such as Chinese.
        """
        text = ""
        for token in tokens:
            piece = self.text_of(token)
            if text and not self.continues_word(token) and self._needs_space(text[-1], piece[:1]):
                text += " "
            text += piece
        return text

    @property
    def has_unmarked_pieces(self) -> bool:
        """Whether words are split into unmarked tokens, so that only a segmenter can find them."""
        return False

    @property
    def words_from_text(self) -> bool:
        """Whether word starts are found in the text instead of by marks of the pieces."""
        return False

    @property
    def mask_takes_space(self) -> bool:
        """Whether the space before a mask token is part of the masked token."""
        return False

    @property
    def huggingface_class(self) -> str:
        """The `tokenizer_class` of an export, which gives the same ids in transformers.

        The default reads the pipeline from tokenizer.json.
        """
        return "PreTrainedTokenizerFast"

    @abstractmethod
    def huggingface_files(self, vocabulary: Vocabulary) -> dict[str, bytes]:
        """File contents by name, with the names that transformers expects."""

    def load(self, *, key: str = "tokenizer") -> Tokenizer:
        """Read the files and return the tokenizer. `key` is this block's recipe key, for messages.

        Raises UserError if a file is missing, malformed or does not agree with the recipe.
        """
        vocabulary = replace(self.read(), key=key)
        if self.size is not None and self.size != vocabulary.size:
            raise UserError(
                f"{self.source}: the vocabulary has {vocabulary.size} tokens, but "
                f"{key}.size is {self.size}. Set {key}.size to {vocabulary.size} or use another "
                "file."
            )
        if self.lowercase:
            vocabulary.check_lowercase(self.text_of)
        return Tokenizer(config=self, vocabulary=vocabulary, encoder=self.encoder(vocabulary))

    def _named_specials(self) -> dict[str, str]:
        """Role to token, as given in the recipe or in the file that `special_tokens` names."""
        if isinstance(self.special_tokens, dict):
            return with_counterparts(self.special_tokens)
        path = Path(self.special_tokens)
        named = read_json(path)
        if not isinstance(named, dict):
            raise UserError(
                f'{path}: the file is not a map of special tokens such as {{"cls_token": "[CLS]"}}.'
            )
        return special_roles(named)

    @staticmethod
    def _needs_space(before: str, after: str) -> bool:
        """Whether to put a space between two words with these neighbouring characters."""
        closes = before.isalnum() or before in ".,;:!?)"
        return closes and after.isalnum() and max(before, after) < _FIRST_UNSPACED
