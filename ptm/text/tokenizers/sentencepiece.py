"""SentencePiece models, unigram and BPE (Kudo 2018; Kudo and Richardson 2018).

Text is encoded by the `sentencepiece` package itself. The pipeline that is exported for
transformers gives the same ids as far as the `tokenizers` library supports it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tokenizers
from pydantic import Field
from sentencepiece import SentencePieceProcessor

from ptm.component import NonNegativeInt
from ptm.errors import UserError
from ptm.text.tokenizers.base import TokenizerConfig
from ptm.text.tokenizers.charsmap import composed_texts
from ptm.text.tokenizers.sentencepiece_file import (
    SPACE,
    SentencePieceFile,
    build_pipeline,
    read_sentencepiece,
)
from ptm.text.tokenizers.specials import BERT_SPECIALS, ROBERTA_SPECIALS
from ptm.text.tokenizers.tokenizer import Offsets, TokenEncoder
from ptm.text.vocabulary import Vocabulary, sentinel

FAIRSEQ_FIRST = ("<s>", "<pad>", "</s>", "<unk>")
"""The first tokens of fairseq's numbering. The file's pieces from 3 on have their id plus 1."""
FAIRSEQ_LAST = "<mask>"
PEGASUS_FIRST = ("<pad>", "</s>", "<unk>")
"""The first pieces of PEGASUS's file. In its numbering pieces from 2 on have their id plus 103."""
_PEGASUS_MARKS = ("<mask_1>", "<mask_2>", *(f"<unk_{number}>" for number in range(2, 103)))
PEGASUS_OFFSET = len(_PEGASUS_MARKS)
_SHIFTS = {"file": 0, "fairseq": 1, "pegasus": PEGASUS_OFFSET}
_SENTINEL = re.compile(SPACE + r"(<extra_id_\d+>)")
"""A sentinel as mT5's file writes it."""

_COMPOSED = 500
"""How many texts that the model normalises as a whole are compared with other pipelines."""
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
"""A piece that is a single byte."""


class SentencePiece(TokenizerConfig):
    """A SentencePiece model: pieces of raw text, in which a space is written `▁`."""

    FILES: ClassVar[tuple[str, ...]] = ("model",)
    SPECIALS: ClassVar[Mapping[str, str]] = ROBERTA_SPECIALS
    WORD_MARK: ClassVar[str | None] = SPACE

    type: Literal["sentencepiece"]
    model: str
    """Path of the `.model` file."""
    ids: Literal["file", "fairseq", "pegasus"] = "file"
    """How pieces are numbered. file: as in the model file; fairseq: as in XLM-R (Conneau et al.
    2019); pegasus: as in PEGASUS, whose masks are <mask_1> and <mask_2> (Zhang et al. 2019)."""
    lowercase: bool = False
    """Whether text is lowercased before it is tokenised."""
    sentinels: Annotated[int, Field(ge=0, le=1000)] = 0
    """How many sentinels to append after the file's pieces, in T5's order, with
    <extra_id_0> last. T5 has 100. 0 if the file has sentinels of its own."""
    unused: NonNegativeInt = 0
    """How many unused tokens to append after all others, for T5's oversized embedding matrices."""

    def read(self) -> Vocabulary:
        file = read_sentencepiece(self.model)
        specials = {**self._default_specials(file), **self._named_specials()}
        reserved = file.reserved
        tokens = tuple(_SENTINEL.sub(r"\1", token) for token in file.tokens)
        if self.ids == "fairseq":
            self._check_fairseq_layout(file)
            tokens = (*FAIRSEQ_FIRST, *tokens[3:], FAIRSEQ_LAST)
            specials = {**ROBERTA_SPECIALS, **self._named_specials()}
        elif self.ids == "pegasus":
            self._check_pegasus_layout(file)
            tokens = (*tokens[:2], *_PEGASUS_MARKS, *tokens[2:])
            specials = {**specials, "mask": "<mask_2>", **self._named_specials()}
            reserved |= {*_PEGASUS_MARKS}
        added = tuple(sentinel(number) for number in reversed(range(self.sentinels)))
        if set(added) & set(tokens):
            raise UserError(
                f"{self.model}: the model already has the piece {sentinel(0)}. Remove "
                f"tokenizer.sentinels = {self.sentinels}."
            )
        vocabulary = Vocabulary(
            tokens=(*tokens, *added, *(f"<unused{number}>" for number in range(self.unused))),
            specials=specials,
            source=self.model,
            reserved=(reserved & set(tokens)) | set(added),
        )
        vocabulary.require(("unk",))
        return vocabulary

    def _check_pegasus_layout(self, file: SentencePieceFile) -> None:
        if file.tokens[:3] != PEGASUS_FIRST or "<mask_1>" in file.tokens:
            raise UserError(
                f"{self.model}: the first pieces are {', '.join(file.tokens[:3])}, but "
                "tokenizer.ids: pegasus needs a model that starts with "
                f"{', '.join(PEGASUS_FIRST)} and has no <mask_1>. Set tokenizer.ids: file."
            )

    def _default_specials(self, file: SentencePieceFile) -> dict[str, str]:
        """Special tokens by role: padding and unknown from the file, the others by BERT's or
        RoBERTa's name, whichever the file has."""
        there = set(file.tokens)
        roles = {
            role: next((name for name in (bert, ROBERTA_SPECIALS[role]) if name in there), bert)
            for role, bert in BERT_SPECIALS.items()
        }
        roles["unk"] = file.tokens[file.unknown]
        return roles if file.padding is None else {**roles, "pad": file.tokens[file.padding]}

    def _check_fairseq_layout(self, file: SentencePieceFile) -> None:
        first = ("<unk>", "<s>", "</s>")
        if file.tokens[:3] != first or {"<pad>", FAIRSEQ_LAST} & set(file.tokens):
            raise UserError(
                f"{self.model}: the first pieces are {', '.join(file.tokens[:3])}, but "
                f"tokenizer.ids: fairseq needs a model that starts with {', '.join(first)} and has "
                f"neither <pad> nor {FAIRSEQ_LAST}. Set tokenizer.ids: file."
            )

    def continues_word(self, token: str) -> bool:
        return not token.startswith(SPACE)

    def text_of(self, token: str) -> str:
        return token.replace(SPACE, " ").strip()

    def decode_ordinary(self, tokens: Sequence[str]) -> str:
        # The bytes are concatenated before decoding: a character may span several byte pieces.
        pieces = (
            bytes([int(token[3:5], 16)]) if _BYTE.fullmatch(token) else token.encode("utf-8")
            for token in tokens
        )
        text = b"".join(pieces).decode("utf-8", "replace").replace(SPACE, " ")
        return text.removeprefix(" ")

    @property
    def mask_takes_space(self) -> bool:
        # As in transformers.
        return True

    def fingerprint_extras(self) -> list[Any]:
        return [hashlib.sha256(read_sentencepiece(self.model).data).hexdigest(), self.ids]

    def encoder(self, vocabulary: Vocabulary) -> TokenEncoder:
        """The `sentencepiece` package itself: exact, and several times as fast as the pipeline."""
        file = self._without_symbols(vocabulary)
        unknown = vocabulary.special_id("unk")
        return _Processor(
            SentencePieceProcessor(model_proto=file.data),
            lowercase=self.lowercase,
            shift=_SHIFTS[self.ids],
            unknown=(file.unknown, unknown),
        )

    def backend(self, vocabulary: Vocabulary) -> tokenizers.Tokenizer:
        """A pipeline that gives the package's ids, except between equally likely segmentations.

        There the library rounds differently and may choose another one.
        """
        return build_pipeline(
            self._without_symbols(vocabulary),
            tokens=vocabulary.tokens[: vocabulary.size - self.unused],
            unknown=vocabulary.special_id("unk"),
            lowercase=self.lowercase,
        )

    def _without_symbols(self, vocabulary: Vocabulary) -> SentencePieceFile:
        """The model changed so that special tokens and sentinels in a text are plain text."""
        file = read_sentencepiece(self.model)
        sentinels = {token for token in file.tokens if _SENTINEL.fullmatch(token)}
        return file.without_symbols(sentinels | set(vocabulary.specials.values()))

    @property
    def probes(self) -> Sequence[str]:
        spec = read_sentencepiece(self.model).proto.normalizer_spec
        composed = composed_texts(bytes(spec.precompiled_charsmap))
        return composed[:: max(1, len(composed) // _COMPOSED)]

    def huggingface_files(self, vocabulary: Vocabulary) -> dict[str, bytes]:
        # The names that XLM-R's and T5's tokenizer classes read.
        name = "sentencepiece.bpe.model" if self.ids == "fairseq" else "spiece.model"
        return {name: Path(self.model).read_bytes()}


class _Processor(TokenEncoder):
    """Encoder over the `sentencepiece` package, with ids in the numbering of the config.

    `shift` is added to every id but the unknown; `unknown` is its id in the file and in the config.
    """

    def __init__(
        self,
        processor: SentencePieceProcessor,
        *,
        lowercase: bool,
        shift: int,
        unknown: tuple[int, int],
    ) -> None:
        self._processor = processor
        self._lowercase = lowercase
        self._shift = shift
        self._unknown = unknown

    def _ids(self, found: Sequence[int]) -> list[int]:
        theirs, ours = self._unknown
        if not self._shift and theirs == ours:
            return list(found)
        return [ours if index == theirs else index + self._shift for index in found]

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        read = [lowercase_characters(text) for text in texts] if self._lowercase else list(texts)
        # One thread, as the preprocessing workers already use all cores.
        return [self._ids(found) for found in self._processor.encode(read, num_threads=1)]

    def encode_with_offsets(self, texts: Sequence[str]) -> list[tuple[list[int], Offsets]]:
        found = []
        for text in texts:
            read = lowercase_characters(text) if self._lowercase else text
            mapped = self._processor.encode_as_offset_mapping(read)
            offsets = [(start, end) for start, end in mapped["offsets"]]
            if len(read) != len(text):
                # Lowercasing changed the length (İ becomes two characters): `at` maps each index of
                # the lowercased text to its character in the original one.
                at = [index for index, c in enumerate(text) for _ in lowercase_characters(c)] + [
                    len(text)
                ]
                offsets = [(at[start], at[end]) for start, end in offsets]
            found.append((self._ids(mapped["ids"]), offsets))
        return found


def lowercase_characters(text: str) -> str:
    """Lowercase each character by itself, as the `tokenizers` library does."""
    # str.lower depends on context for one letter only: Σ at the end of a word becomes ς.
    return "".join(c.lower() for c in text) if "Σ" in text else text.lower()
