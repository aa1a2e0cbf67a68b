"""Unigram SentencePiece models (Kudo 2018), with XLM-R's numbering."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import ClassVar

from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

from ptm.errors import UserError
from ptm.text.tokenizers.sentencepiece import lowercase_characters
from ptm.text.tokenizers.specials import ROBERTA_SPECIALS
from ptm.text.vocabulary_training.base import (
    TrainedVocabulary,
    VocabularyRequest,
    VocabularyTrainer,
)
from ptm.text.vocabulary_training.text import TrainingText

_COVERAGE = 0.9995
"""Share of the text's characters that are in the vocabulary; the rarest are not. XLM-R's value."""
_THREADS = 4
"""Fixed, since the sums of floats, and thus the model, depend on it."""
_FAIRSEQ_EXTRA_TOKENS = 2
"""Number of tokens that fairseq's numbering adds to the file's: <pad> and <mask>."""


class Unigram(VocabularyTrainer):
    """Trains with SentencePiece's own trainer."""

    name: ClassVar[str] = "unigram"

    def train(self, text: TrainingText, request: VocabularyRequest) -> TrainedVocabulary:
        """Memory is several times the text that is read."""
        size = request.needed_size(self.name)
        if request.min_count is not None:
            raise UserError(
                "--min-count is not supported for --type unigram, which selects pieces by their "
                "probability. Remove --min-count."
            )
        request.specials(ROBERTA_SPECIALS, ROBERTA_SPECIALS)
        if size <= len(ROBERTA_SPECIALS) + len(request.extra):
            raise UserError(
                f"--size {size} leaves no room for pieces beside the special tokens. Give a "
                "larger --size."
            )
        model, errors = io.BytesIO(), list[UserError]()
        try:
            SentencePieceTrainer.train(
                sentence_iterator=_encoded(text, errors, lowercase=request.lowercase),
                model_writer=model,
                model_type="unigram",
                vocab_size=size - _FAIRSEQ_EXTRA_TOKENS,
                hard_vocab_limit=False,
                character_coverage=_COVERAGE,
                control_symbols=list(request.extra),
                max_sentence_length=2**28,
                num_threads=_THREADS,
                minloglevel=2,
            )
        except RuntimeError as error:
            if not errors:
                raise UserError(_reason(size, str(error))) from error
        if errors:
            raise errors[0]
        data = model.getvalue()
        return TrainedVocabulary(
            files={"sentencepiece.model": data},
            block={
                "type": "sentencepiece",
                "model": None,
                "ids": "fairseq",
                "lowercase": request.lowercase,
            },
            size=len(SentencePieceProcessor(model_proto=data)) + _FAIRSEQ_EXTRA_TOKENS,
        )


def _encoded(text: TrainingText, errors: list[UserError], *, lowercase: bool) -> Iterator[str]:
    """Yield the lines. SentencePiece loses exceptions, so a UserError is appended to `errors`."""
    try:
        for line in text.lines():
            yield lowercase_characters(line) if lowercase else line
    except UserError as error:
        errors.append(error)


def _reason(size: int, error: str) -> str:
    """The message for `error`, an exception text of SentencePiece's trainer."""
    found = re.search(r"smaller than required_chars\. (\d+) vs (\d+)", error)
    if found:
        needed = int(found[2]) + _FAIRSEQ_EXTRA_TOKENS
        return (
            f"--size {size} is too small: the special tokens and {_COVERAGE:.2%} of the text's "
            f"characters need {needed}. Give a larger --size."
        )
    return f"--size {size}: SentencePiece's trainer failed: {error.splitlines()[-1]}"
