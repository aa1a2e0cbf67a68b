"""Vocabularies of whole words, for `tokenizer.type: space`."""

from __future__ import annotations

from typing import ClassVar

from ptm.errors import UserError
from ptm.text.tokenizers.specials import BERT_SPECIALS
from ptm.text.vocabulary_training.base import (
    MIN_COUNT,
    TrainedVocabulary,
    VocabularyRequest,
    VocabularyTrainer,
)
from ptm.text.vocabulary_training.text import TrainingText, count


class Words(VocabularyTrainer):
    """Words separated by white space, the most frequent first."""

    name: ClassVar[str] = "space"

    def train(self, text: TrainingText, request: VocabularyRequest) -> TrainedVocabulary:
        """Keep words with at least `min_count` occurrences, up to `size`; ties by spelling."""
        specials = request.specials(BERT_SPECIALS, BERT_SPECIALS)
        counts = count(
            (line.lower() if request.lowercase else line).split() for line in text.lines()
        )
        least = MIN_COUNT if request.min_count is None else request.min_count
        special = set(specials)
        frequent = [word for word, n in counts.items() if n >= least and word not in special]
        if not frequent:
            raise UserError(
                f"--min-count {least}: no word of the corpus occurs that often. The most "
                f'frequent, "{counts.most_common(1)[0][0]}", occurs {counts.most_common(1)[0][1]} '
                "times. Give a smaller --min-count."
            )
        frequent.sort(key=lambda word: (-counts[word], word))
        if request.size is not None:
            if request.size <= len(specials):
                raise UserError(
                    f"--size {request.size} leaves no room for words beside the special tokens. "
                    "Give a larger --size."
                )
            frequent = frequent[: request.size - len(specials)]
        tokens = [*specials, *frequent]
        return TrainedVocabulary(
            files={"vocab.txt": "".join(f"{token}\n" for token in tokens).encode("utf-8")},
            block={"type": "space", "vocab": None, "lowercase": request.lowercase},
            size=len(tokens),
        )
