"""WordPiece vocabularies as in BERT (Devlin et al. 2018): each Chinese character is a token."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

import tokenizers
from tokenizers import models, trainers

from ptm.errors import UserError
from ptm.text.tokenizers.specials import BERT_SPECIALS
from ptm.text.tokenizers.wordpiece import CONTINUATION, WordPiece
from ptm.text.vocabulary import Vocabulary
from ptm.text.vocabulary_training.base import (
    MIN_COUNT,
    TrainedVocabulary,
    VocabularyRequest,
    VocabularyTrainer,
)
from ptm.text.vocabulary_training.text import TrainingText, check_size, count


class WordPieces(VocabularyTrainer):
    """Starts from characters with at least `min_count` occurrences and merges frequent pairs."""

    name: ClassVar[str] = "wordpiece"

    def train(self, text: TrainingText, request: VocabularyRequest) -> TrainedVocabulary:
        """Reads the text twice: to count the characters, then to train the pieces."""
        size = request.needed_size(self.name)
        least = MIN_COUNT if request.min_count is None else request.min_count
        specials = request.specials(BERT_SPECIALS, BERT_SPECIALS)
        pipeline = _pipeline(lowercase=request.lowercase)
        first, inside = _characters(text, pipeline)
        whole = first + inside
        kept = {c for c, n in whole.items() if n >= least}
        if not kept:
            raise UserError(
                f"--min-count {least}: no character of the corpus occurs that often. Give a "
                "smaller --min-count."
            )
        alphabet = [c for c in _by_count(whole) if c in kept and first[c]]
        alphabet += [f"{CONTINUATION}{c}" for c in _by_count(inside) if c in kept]
        check_size(
            size,
            specials=len(specials),
            alphabet=len(alphabet),
            advice=f"Give a larger --size, or a larger --min-count (now {least}), which drops rare "
            "characters.",
        )
        # Passing the alphabet as special tokens fixes its ids. Otherwise they would depend on the
        # order in which words are met, and with them the choice between equally frequent pairs.
        trainer = trainers.WordPieceTrainer(
            vocab_size=size,
            min_frequency=least,
            special_tokens=[*specials, *alphabet],
            limit_alphabet=len(kept),
            continuing_subword_prefix=CONTINUATION,
            show_progress=False,
        )
        pipeline.train_from_iterator(text.lines(), trainer=trainer)
        ids = pipeline.get_vocab(with_added_tokens=True)
        tokens = sorted(ids, key=ids.__getitem__)
        return TrainedVocabulary(
            files={"vocab.txt": "".join(f"{token}\n" for token in tokens).encode("utf-8")},
            block={"type": "wordpiece", "vocab": None, "lowercase": request.lowercase},
            size=len(tokens),
        )


def _pipeline(*, lowercase: bool) -> tokenizers.Tokenizer:
    """A pipeline with the normaliser and pre-tokeniser of `WordPiece` and an untrained model."""
    config = WordPiece(type="wordpiece", vocab="", lowercase=lowercase)
    some = Vocabulary(tokens=("[UNK]",), specials=BERT_SPECIALS, source="")
    backend = config.backend(some)
    pipeline = tokenizers.Tokenizer(models.WordPiece(unk_token=BERT_SPECIALS["unk"]))
    pipeline.normalizer, pipeline.pre_tokenizer = backend.normalizer, backend.pre_tokenizer
    return pipeline


def _characters(
    text: TrainingText, pipeline: tokenizers.Tokenizer
) -> tuple[Counter[str], Counter[str]]:
    """Count how often each character starts a word, and how often it is inside one."""
    normalizer, cutter = pipeline.normalizer, pipeline.pre_tokenizer
    assert normalizer is not None, "set by _pipeline"
    assert cutter is not None, "set by _pipeline"
    words = count(
        [word for word, _ in cutter.pre_tokenize_str(normalizer.normalize_str(line))]
        for line in text.lines()
    )
    first: Counter[str] = Counter()
    inside: Counter[str] = Counter()
    for word, times in words.items():
        first[word[0]] += times
        for character in word[1:]:
            inside[character] += times
    return first, inside


def _by_count(counts: Counter[str]) -> list[str]:
    return sorted(counts, key=lambda character: (-counts[character], character))
