"""Batches of a recipe's objective from random texts: no corpus and no vocabulary file is needed.

The objective's own collation makes the tensors, so they are those of a training. Shapes: E texts.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from ptm.arrays import I64
from ptm.components.objectives import Objective
from ptm.components.objectives.base import RandomSource
from ptm.data.examples import DocumentChunks, TokenSpans
from ptm.data.packing import PackedRows, RowSize, one_per_row, pack_sides
from ptm.data.placement import place
from ptm.loading.batches import StepBatch, step_batch
from ptm.recipe import BatchPlan, Recipe
from ptm.text.vocabulary import Vocabularies, Vocabulary, sentinel

Texts = Literal["full", "short"]
"""Rows of one text each that fills them, or of several texts as long as book reviews."""

_DECILES = (12, 16, 20, 25, 30, 37, 46, 60, 90)
"""Lengths of 36,000 Chinese book reviews, in WordPieces."""
_SPECIALS = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
_SENTINELS = 100


def made_vocabulary(size: int) -> Vocabulary:
    """A vocabulary of `size` tokens, with special tokens and T5's sentinels."""
    named = (*_SPECIALS.values(), *map(sentinel, range(_SENTINELS)))
    words = (f"word{number}" for number in range(size - len(named)))
    return Vocabulary((*named, *words), _SPECIALS, source="random texts")


def random_batch(
    recipe: Recipe, plan: BatchPlan, vocabulary: Vocabulary, *, texts: Texts, seed: int
) -> StepBatch:
    """The micro-batches of one step of one rank."""
    rng = np.random.default_rng(seed)
    objective, size = recipe.objective, recipe.data.row_size
    parts = []
    for index in range(plan.accumulation):
        lengths, packed = _texts(objective, size, plan.micro_batch_size, texts, rng)
        rows = rng.permutation(len(packed))[: plan.micro_batch_size]
        placement = place(
            packed,
            rows,
            np.zeros_like(rows),
            lengths=objective.row_lengths(_documents(lengths)),
            size=size,
        )
        of_texts = lengths[placement.example]
        tokens = rng.choice(vocabulary.ordinary_ids, int(of_texts.sum()))
        parts.append(
            objective.collate(
                TokenSpans(tokens, of_texts[:, None], word_starts=None),
                placement,
                vocabularies=Vocabularies(vocabulary, vocabulary),
                random_source=RandomSource(seed + index, "train"),
            )
        )
    return step_batch(parts, objective)


def _texts(
    objective: Objective, size: RowSize, rows: int, texts: Texts, rng: np.random.Generator
) -> tuple[I64, PackedRows]:
    """Tokens of each text (E), and at least `rows` rows that they are packed into."""
    longest = _longest_text(objective, size)
    if texts == "full":
        return np.full(rows, longest), one_per_row(rows)
    count = 2 * rows * -(-size.source // int(np.mean(_DECILES)))
    lengths = np.minimum(rng.choice(_DECILES, count), longest)
    return lengths, pack_sides(objective.row_lengths(_documents(lengths)), size)


def _longest_text(objective: Objective, size: RowSize) -> int:
    lengths = np.arange(1, size.source + size.target + 3)
    sides = objective.row_lengths(_documents(lengths))
    fits = (sides <= [size.source, size.target][: sides.shape[1]]).all(axis=1)
    return int(lengths[int(np.argmin(fits)) - 1])


def _documents(lengths: I64) -> DocumentChunks:
    return DocumentChunks(np.zeros_like(lengths), lengths)
