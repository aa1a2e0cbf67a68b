"""SentencePiece models, unigram and BPE (Kudo 2018; Kudo and Richardson 2018).

Ids are those of the `sentencepiece` package, which turns text into them; the pipeline for
transformers follows it as far as the `tokenizers` library can.
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
from ptm.text.tokenizers.sentencepiece_file import (
    SPACE,
    SentencePieceFile,
    pipeline_of,
    read_sentencepiece,
)
from ptm.text.tokenizers.specials import BERT_SPECIALS, ROBERTA_SPECIALS
from ptm.text.tokenizers.tokenizer import Encoder, Offsets
from ptm.text.vocabulary import Vocabulary, sentinel

FAIRSEQ_FIRST = ("<s>", "<pad>", "</s>", "<unk>")
"""The first ids of fairseq's numbering, in which the file's pieces from 3 on stand one later."""
FAIRSEQ_LAST = "<mask>"
PEGASUS_FIRST = ("<pad>", "</s>", "<unk>")
"""How files begin whose pieces from 2 on stand 103 later in PEGASUS's numbering."""
_PEGASUS_MARKS = ("<mask_1>", "<mask_2>", *(f"<unk_{number}>" for number in range(2, 103)))
PEGASUS_OFFSET = len(_PEGASUS_MARKS)
_SHIFTS = {"file": 0, "fairseq": 1, "pegasus": PEGASUS_OFFSET}
_SENTINEL = re.compile(SPACE + r"(<extra_id_\d+>)")
"""How mT5's file writes sentinels."""

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
"""How a byte is called that is a piece of its own."""


class SentencePiece(TokenizerConfig):
    """Pieces of raw text, in which a space is written `▁`."""

    FILES: ClassVar[tuple[str, ...]] = ("model",)
    SPECIALS: ClassVar[Mapping[str, str]] = ROBERTA_SPECIALS
    WORD_MARK: ClassVar[str | None] = SPACE

    type: Literal["sentencepiece"]
    model: str
    """Path of the `.model` file."""
    ids: Literal["file", "fairseq", "pegasus"] = "file"
    """file: as the model file numbers its pieces; fairseq: as XLM-R does (Conneau et al. 2019);
    pegasus: as PEGASUS does, whose masks are <mask_1> and <mask_2> (Zhang et al. 2019)."""
    lowercase: bool = False
    sentinels: Annotated[int, Field(ge=0, le=1000)] = 0
    """So many tokens <extra_id_N> after the file's, the first of them last, as T5 has them (100).
    None where the file has its own."""
    unused: NonNegativeInt = 0
    """Tokens after all others that stand for nothing: T5's tables have rows to spare."""

    def read(self) -> Vocabulary:
        """The file's pieces in the order of `ids`; those that no text becomes are reserved."""
        file = read_sentencepiece(self.model)
        specials = {**self._usual_specials(file), **self._named_specials()}
        reserved = file.reserved
        tokens = tuple(_SENTINEL.sub(r"\1", token) for token in file.tokens)
        if self.ids == "fairseq":
            self._refuse_unlike_fairseq(file)
            tokens = (*FAIRSEQ_FIRST, *tokens[3:], FAIRSEQ_LAST)
            specials = {**ROBERTA_SPECIALS, **self._named_specials()}
        elif self.ids == "pegasus":
            self._refuse_unlike_pegasus(file)
            tokens = (*tokens[:2], *_PEGASUS_MARKS, *tokens[2:])
            specials = {**specials, "mask": "<mask_2>", **self._named_specials()}
            reserved |= {*_PEGASUS_MARKS}
        added = tuple(sentinel(number) for number in reversed(range(self.sentinels)))
        if set(added) & set(tokens):
            raise UserError(
                f"{self.model}: has {sentinel(0)} among its pieces already; leave out "
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

    def _refuse_unlike_pegasus(self, file: SentencePieceFile) -> None:
        if file.tokens[:3] != PEGASUS_FIRST or "<mask_1>" in file.tokens:
            raise UserError(
                f"{self.model}: begins with {', '.join(file.tokens[:3])}; tokenizer.ids: pegasus "
                f"renumbers models that begin with {', '.join(PEGASUS_FIRST)} and have no <mask_1>."
                " Set tokenizer.ids: file."
            )

    def _usual_specials(self, file: SentencePieceFile) -> dict[str, str]:
        """Padding and the unknown as the file says, the others by whichever usual name it has."""
        there = set(file.tokens)
        roles = {
            role: next((name for name in (bert, ROBERTA_SPECIALS[role]) if name in there), bert)
            for role, bert in BERT_SPECIALS.items()
        }
        roles["unk"] = file.tokens[file.unknown]
        return roles if file.padding is None else {**roles, "pad": file.tokens[file.padding]}

    def _refuse_unlike_fairseq(self, file: SentencePieceFile) -> None:
        first = ("<unk>", "<s>", "</s>")
        if file.tokens[:3] != first or {"<pad>", FAIRSEQ_LAST} & set(file.tokens):
            raise UserError(
                f"{self.model}: begins with {', '.join(file.tokens[:3])}; tokenizer.ids: fairseq "
                f"renumbers models that begin with {', '.join(first)} and have no <pad> and no "
                f"{FAIRSEQ_LAST}. Set tokenizer.ids: file."
            )

    def continues_word(self, token: str) -> bool:
        """Words begin with the mark of the space before them."""
        return not token.startswith(SPACE)

    def text_of(self, token: str) -> str:
        """Without the mark of the space."""
        return token.replace(SPACE, " ").strip()

    def joined(self, tokens: Sequence[str]) -> str:
        """Marks are spaces; pieces that are single bytes are characters together."""
        pieces = (
            bytes([int(token[3:5], 16)]) if _BYTE.fullmatch(token) else token.encode("utf-8")
            for token in tokens
        )
        text = b"".join(pieces).decode("utf-8", "replace").replace(SPACE, " ")
        return text.removeprefix(" ")

    @property
    def mask_takes_space(self) -> bool:
        """The space is part of the word that was masked, as transformers has it."""
        return True

    def rules(self) -> list[Any]:
        """Everything that the file says, and its numbering."""
        return [hashlib.sha256(read_sentencepiece(self.model).data).hexdigest(), self.ids]

    def encoder(self, vocabulary: Vocabulary) -> Encoder:
        """The `sentencepiece` package itself: exact, and several times as fast as a pipeline."""
        file = self._without_symbols(vocabulary)
        unknown = vocabulary.special_id("unk")
        return _Processor(
            SentencePieceProcessor(model_proto=file.data),
            lowercase=self.lowercase,
            shift=_SHIFTS[self.ids],
            unknown=(file.unknown, unknown),
        )

    def backend(self, vocabulary: Vocabulary) -> tokenizers.Tokenizer:
        """Equal but where several ways to cut a text are equally likely, which it rounds apart."""
        return pipeline_of(
            self._without_symbols(vocabulary),
            tokens=vocabulary.tokens[: vocabulary.size - self.unused],
            unknown=vocabulary.special_id("unk"),
            lowercase=self.lowercase,
        )

    def _without_symbols(self, vocabulary: Vocabulary) -> SentencePieceFile:
        """The file, in which neither special tokens nor sentinels are found in a text."""
        file = read_sentencepiece(self.model)
        sentinels = {token for token in file.tokens if _SENTINEL.fullmatch(token)}
        return file.without_symbols(sentinels | set(vocabulary.specials.values()))

    def huggingface_files(self, vocabulary: Vocabulary) -> dict[str, bytes]:
        """The model file by the name that the family's own class reads."""
        name = "sentencepiece.bpe.model" if self.ids == "fairseq" else "spiece.model"
        return {name: Path(self.model).read_bytes()}


class _Processor:
    """The `sentencepiece` package with this project's numbering."""

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
        """Ids of each text."""
        read = [lowered(text) for text in texts] if self._lowercase else list(texts)
        # Workers share the cores out already.
        return [self._ids(found) for found in self._processor.encode(read, num_threads=1)]

    def encode_with_offsets(self, texts: Sequence[str]) -> list[tuple[list[int], Offsets]]:
        """Ids of each text, and for each id the characters [start, end) it stands for."""
        found = []
        for text in texts:
            read = lowered(text) if self._lowercase else text
            mapped = self._processor.encode_as_offset_mapping(read)
            offsets = [(start, end) for start, end in mapped["offsets"]]
            if len(read) != len(text):
                at = [index for index, c in enumerate(text) for _ in lowered(c)] + [len(text)]
                offsets = [(at[start], at[end]) for start, end in offsets]
            found.append((self._ids(mapped["ids"]), offsets))
        return found


def lowered(text: str) -> str:
    """Every character in lower case by itself, as the `tokenizers` library does it."""
    # Python writes a sigma at the end of a word in another way.
    return "".join(c.lower() for c in text) if "Σ" in text else text.lower()
