"""Base class of the samplers: examples of an evaluation set, predicted and written as text.

A sampler is one file per kind of prediction, found by scanning this package. Shapes: B examples,
each in a row of its own, T tokens per row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64
from ptm.component import classes_in
from ptm.components.objectives import MicroBatch, Objective
from ptm.data.examples import TokenSpans
from ptm.engines.predictions import Predictions, Reduce
from ptm.loading.rows import PackedDataset
from ptm.text.tokenizers import Tokenizer
from ptm.train.samples.record import Sample

TOKENS_SHOWN = 96
"""Tokens of a text that a sample shows."""

Infer = Callable[[MicroBatch, Reduce], Predictions]
"""Runs the model on a micro-batch. Collective."""


@dataclass(frozen=True)
class Tokenizers:
    """Those of source and target; the same unless the recipe has a `target_tokenizer`."""

    source: Tokenizer
    target: Tokenizer


class Sampler(ABC):
    """Predicts the same few examples of a set at every call."""

    types: ClassVar[tuple[str, ...]]
    """The types of the objectives."""
    outputs: ClassVar[tuple[str, ...] | None] = None
    """Outputs of the plan that the sampler runs; None: those that the loss is computed from. Others
    do not exist in pipeline stages."""

    def __init__(self, rows: PackedDataset, examples: I64, tokenizers: Tokenizers) -> None:
        """`examples` (B): at most as many as the rows of a micro-batch."""
        self.rows = rows
        self.tokenizers = tokenizers
        self.placement = rows.placed_alone(examples)
        self.batch = rows.collate(self.placement)
        self.texts = rows.texts(self.placement)

    @classmethod
    def supports(cls, objective: Objective) -> bool:
        """Whether the options of an objective of this type leave something to predict."""
        return True

    @abstractmethod
    def sample(self, infer: Infer) -> list[Sample]:
        """Return a sample for each example. Collective: all ranks call `infer` equally often."""

    def token_ids(self, row: int) -> list[int]:
        """The ids that the encoder, or the only stack, reads of an example, without padding."""
        real = self.batch.tensors["example_ids"][row] > 0
        found: list[int] = self.batch.tensors["input_ids"][row][real].tolist()
        return found

    def parts(self) -> list[list[list[int]]]:
        """The token ids of each text of each example, without special tokens."""
        return parts_of(self.texts)

    def source_text(self, parts: Sequence[Sequence[int]]) -> str:
        """The texts of an example, each cut, with the separator between them."""
        tokenizer = self.tokenizers.source
        between = f" {tokenizer.vocabulary.specials.get('sep', '|')} "
        return between.join(shortened(tokenizer, part) for part in parts if len(part))


def parts_of(texts: TokenSpans) -> list[list[list[int]]]:
    """The token ids of each part of each example."""
    ends = np.cumsum(texts.part_lengths)
    cut = np.split(texts.tokens, ends[:-1]) if ends.size else []
    lists = [part.tolist() for part in cut]
    columns = texts.part_lengths.shape[1]
    return [lists[at : at + columns] for at in range(0, len(lists), columns)]


def shortened(tokenizer: Tokenizer, ids: Sequence[int], limit: int = TOKENS_SHOWN) -> str:
    """The text of at most `limit` tokens."""
    text = tokenizer.decode(ids[:limit])
    return f"{text}…" if len(ids) > limit else text


def sampler_class(objective: Objective) -> type[Sampler] | None:
    """The sampler of an objective; None if its predictions cannot be shown."""
    every: list[type[Sampler]] = classes_in(__package__, Sampler)  # type: ignore[type-abstract]
    found = next((one for one in every if objective.type in one.types), None)
    return found if found is not None and found.supports(objective) else None


def typical_examples(lengths: I64, count: int) -> I64:
    """Return `count` examples: the one of median length in each of equal parts of the set.

    `lengths` (E): tokens of each example. Fewer if the set is smaller.
    """
    parts = np.array_split(np.arange(len(lengths)), min(count, len(lengths)))
    return np.array([_median_of(part, lengths[part]) for part in parts], dtype=np.int64)


def _median_of(examples: NDArray[np.int64], lengths: I64) -> int:
    order = np.argsort(lengths, kind="stable")
    return int(examples[order[len(order) // 2]])
