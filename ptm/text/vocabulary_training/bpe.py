"""Byte-level BPE, as in GPT-2 and RoBERTa (Radford et al. 2019; Liu et al. 2019)."""

from __future__ import annotations

import json
from typing import ClassVar

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, trainers

from ptm.text.tokenizers.bpe import byte_letters, merges_text
from ptm.text.tokenizers.specials import ROBERTA_SPECIALS
from ptm.text.vocabulary_training.base import (
    MIN_COUNT,
    TrainedVocabulary,
    VocabularyRequest,
    VocabularyTrainer,
)
from ptm.text.vocabulary_training.text import TrainingText, check_size

_ORDER = ("cls", "pad", "sep", "unk", "mask")
"""RoBERTa's order of the special tokens: padding has id 1."""


class ByteBpe(VocabularyTrainer):
    """Starts from all 256 bytes and merges the most frequent pairs."""

    name: ClassVar[str] = "bpe"

    def train(self, text: TrainingText, request: VocabularyRequest) -> TrainedVocabulary:
        """Memory grows with the text that is read: unspaced text has words as long as clauses."""
        size = request.needed_size(self.name)
        specials = request.specials(ROBERTA_SPECIALS, _ORDER)
        letters = list(byte_letters())
        check_size(
            size, specials=len(specials), alphabet=len(letters), advice="Give a larger --size."
        )
        pipeline = tokenizers.Tokenizer(models.BPE())
        if request.lowercase:
            pipeline.normalizer = normalizers.Lowercase()
        pipeline.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            min_frequency=MIN_COUNT if request.min_count is None else request.min_count,
            special_tokens=[*specials, *letters],
            initial_alphabet=letters,
            show_progress=False,
        )
        pipeline.train_from_iterator(text.lines(), trainer=trainer)
        ids = pipeline.get_vocab(with_added_tokens=True)
        merges = json.loads(pipeline.to_str())["model"]["merges"]
        vocab = json.dumps(dict(sorted(ids.items(), key=lambda pair: pair[1])), ensure_ascii=False)
        return TrainedVocabulary(
            files={
                "vocab.json": vocab.encode("utf-8"),
                "merges.txt": merges_text([(left, right) for left, right in merges]).encode(),
            },
            block={"type": "bpe", "vocab": None, "merges": None, "lowercase": request.lowercase},
            size=len(ids),
        )
