"""Any tokenizer of the `tokenizers` library, from its `tokenizer.json`.

The pipeline runs as the file describes it: normalizers, its own split expressions, added words.
Only special tokens that are written in a text are plain text, as for all tokenizers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import tokenizers

from ptm.errors import UserError
from ptm.text.tokenizers.base import TokenizerConfig
from ptm.text.tokenizers.bpe import END_OF_TEXT
from ptm.text.tokenizers.pipeline_file import PipelineFile, read_pipeline_file
from ptm.text.tokenizers.specials import BERT_SPECIALS, ROBERTA_SPECIALS
from ptm.text.tokenizers.tokenizer import PipelineEncoder
from ptm.text.vocabulary import SENTINEL, Vocabulary

_PART_OF_A_CHARACTER = "\ufffd"


class HuggingFace(TokenizerConfig):
    """A `tokenizer.json`, run by the `tokenizers` library."""

    FILES: ClassVar[tuple[str, ...]] = ("file",)

    type: Literal["huggingface"]
    file: str
    """Path of the `tokenizer.json`."""
    lowercase: bool | None = None
    """Whether the file lowercases text. It decides; a value here must agree with it."""

    def read(self) -> Vocabulary:
        file = read_pipeline_file(self.file)
        if self.lowercase not in (None, file.lowercases):
            does = "lowercases" if file.lowercases else "does not lowercase"
            raise UserError(
                f"{self.file}: the tokenizer {does} text, but tokenizer.lowercase is "
                f"{str(self.lowercase).lower()}. Remove tokenizer.lowercase."
            )
        specials = {**_default_specials(file), **self._named_specials()}
        return Vocabulary(
            tokens=tuple(file.tokens),
            specials=specials,
            source=self.file,
            reserved=_special(file) - set(specials.values()),
        )

    def continues_word(self, token: str) -> bool:
        file = read_pipeline_file(self.file)
        if file.continuing_prefix:
            return token.startswith(file.continuing_prefix)
        return file.word_mark is not None and not token.startswith(file.word_mark)

    @property
    def words_from_text(self) -> bool:
        return True

    def text_of(self, token: str) -> str:
        file = read_pipeline_file(self.file)
        piece = token.removeprefix(file.continuing_prefix) or token
        text = piece if file.decoder is None else str(file.decoder.decode([piece]))
        # Bytes that are only a part of a character are dropped.
        return text.strip(f" {_PART_OF_A_CHARACTER}")

    def decode_ordinary(self, tokens: Sequence[str]) -> str:
        decoder = read_pipeline_file(self.file).decoder
        return super().decode_ordinary(tokens) if decoder is None else decoder.decode(list(tokens))

    @property
    def mask_takes_space(self) -> bool:
        mask = self.read().specials["mask"]
        added = read_pipeline_file(self.file).added
        return any(token["content"] == mask and token["lstrip"] for token in added)

    def fingerprint_extras(self) -> list[Any]:
        vocabulary = self.read()
        file = read_pipeline_file(self.file)
        return [file.rules_hash(_never_in_text(vocabulary))]

    def encoder(self, vocabulary: Vocabulary) -> HuggingFaceEncoder:
        file, specials = read_pipeline_file(self.file), _never_in_text(vocabulary)
        return HuggingFaceEncoder(file.plain_text_pipeline(specials), file=file, specials=specials)

    def backend(self, vocabulary: Vocabulary) -> tokenizers.Tokenizer:
        """The pipeline of the file. It recognises the special tokens that the file lists."""
        return read_pipeline_file(self.file).pipeline()

    def huggingface_files(self, vocabulary: Vocabulary) -> dict[str, bytes]:
        return {}


@dataclass(frozen=True)
class HuggingFaceEncoder(PipelineEncoder):
    """Encodes with the pipeline of a `tokenizer.json`."""

    file: PipelineFile
    specials: frozenset[str]
    """Tokens that are plain text in a text."""
    _recognising: dict[frozenset[str], tokenizers.Tokenizer] = field(default_factory=dict)

    def encode_recognising(self, text: str, tokens: frozenset[str]) -> list[int]:
        """Ids of the text, in which special `tokens` are recognised as the file says."""
        if tokens not in self._recognising:
            self._recognising[tokens] = self.file.plain_text_pipeline(
                self.specials, recognised=tokens
            )
        ids: list[int] = self._recognising[tokens].encode(text, add_special_tokens=False).ids
        return ids


def _default_specials(file: PipelineFile) -> dict[str, str]:
    """Special tokens by role: BERT's or RoBERTa's name, or GPT-2's <|endoftext|>, whichever the
    file has; for the unknown token that of its model."""
    roles = {}
    for role, bert in BERT_SPECIALS.items():
        names = (bert, ROBERTA_SPECIALS[role], *([END_OF_TEXT] if role != "mask" else []))
        roles[role] = next((name for name in names if name in file.ids), bert)
    return roles | ({"unk": file.unknown} if file.unknown in file.ids else {})


def _special(file: PipelineFile) -> frozenset[str]:
    """Tokens of the file that text is never tokenised to: special ones and T5's sentinels."""
    return frozenset(
        token["content"]
        for token in file.added
        if token["special"] or SENTINEL.fullmatch(token["content"])
    )


def _never_in_text(vocabulary: Vocabulary) -> frozenset[str]:
    found = {*vocabulary.specials.values(), *vocabulary.reserved}
    return frozenset(token for token in found if token in vocabulary.ids)
