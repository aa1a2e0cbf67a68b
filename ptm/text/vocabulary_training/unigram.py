"""A unigram SentencePiece model (Kudo 2018), numbered as XLM-R's."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import ClassVar

from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

from ptm.errors import UserError
from ptm.text.tokenizers.sentencepiece import lowered
from ptm.text.tokenizers.specials import ROBERTA_SPECIALS
from ptm.text.vocabulary_training.base import Trained, Trainer, Wish
from ptm.text.vocabulary_training.text import TrainingText

_COVERAGE = 0.9995
"""The share of the text's characters that become pieces; the rarest are unknown (XLM-R's)."""
_THREADS = 4
"""Fixed, since sums of floats depend on it."""
_BESIDE_FILE = 2
"""Tokens that fairseq's numbering adds to those of the file: <pad> and <mask>."""


class Unigram(Trainer):
    """SentencePiece's own trainer."""

    name: ClassVar[str] = "unigram"

    def train(self, text: TrainingText, wish: Wish) -> Trained:
        """The memory this takes is several times the text that is read."""
        size = wish.needed_size(self.name)
        if wish.min_count is not None:
            raise UserError("--min-count: is not for --type unigram, which weighs pieces itself.")
        wish.specials(ROBERTA_SPECIALS, ROBERTA_SPECIALS)
        if size <= len(ROBERTA_SPECIALS) + len(wish.extra):
            raise UserError(f"--size {size}: leaves no room beside the special tokens.")
        model, refused = io.BytesIO(), list[UserError]()
        try:
            SentencePieceTrainer.train(
                sentence_iterator=_encoded(text, refused, lowercase=wish.lowercase),
                model_writer=model,
                model_type="unigram",
                vocab_size=size - _BESIDE_FILE,
                hard_vocab_limit=False,
                character_coverage=_COVERAGE,
                control_symbols=list(wish.extra),
                max_sentence_length=2**28,
                num_threads=_THREADS,
                minloglevel=2,
            )
        except RuntimeError as error:
            if not refused:
                raise UserError(_reason(size, str(error))) from error
        if refused:
            raise refused[0]
        data = model.getvalue()
        return Trained(
            files={"sentencepiece.model": data},
            block={
                "type": "sentencepiece",
                "model": None,
                "ids": "fairseq",
                "lowercase": wish.lowercase,
            },
            size=len(SentencePieceProcessor(model_proto=data)) + _BESIDE_FILE,
        )


def _encoded(text: TrainingText, refused: list[UserError], *, lowercase: bool) -> Iterator[str]:
    """The lines; what is wrong with the text goes to `refused`, as SentencePiece loses errors."""
    try:
        for line in text.lines():
            yield lowered(line) if lowercase else line
    except UserError as error:
        refused.append(error)


def _reason(size: int, error: str) -> str:
    found = re.search(r"smaller than required_chars\. (\d+) vs (\d+)", error)
    if found:
        needed = int(found[2]) + _BESIDE_FILE
        return (
            f"--size {size}: is too small: the special tokens and {_COVERAGE:.2%} of the text's "
            f"characters need {needed}."
        )
    return f"--size {size}: SentencePiece's trainer could not go on: {error.splitlines()[-1]}"
