"""Multiple choice: which of several answers to a question about a text is right.

As SWAG and RACE in Devlin et al. 2018, section 4.4, and `BertForMultipleChoice`: each choice is a
sequence [CLS] question choice [SEP] context [SEP] with a score; the loss is the cross entropy of
the softmax over the choices of a question. Shapes, beside those of
`ptm.components.objectives.base`: E questions, C choices of all questions.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from ptm.arrays import I64, exclusive_cumsum, ragged_arange
from ptm.components.objectives.base import (
    EXAMPLE_NUMBERS,
    BatchView,
    Metric,
    MicroBatch,
    Objective,
    RandomSource,
)
from ptm.components.objectives.classifier_head import ClassifierHead, pooled_operations
from ptm.components.objectives.masked_tokens import add_special_tokens
from ptm.components.objectives.template import Template
from ptm.data.choices import Choices, choice_questions
from ptm.data.documents import Documents
from ptm.data.examples import Examples, ExamplesType, TokenSpans
from ptm.data.packing import RowSize
from ptm.data.placement import Placement, row_tensors
from ptm.nn.model_shape import ModelShape, Pooling
from ptm.plan import Operation
from ptm.text.vocabulary import Vocabularies

if TYPE_CHECKING:
    from torch import Tensor

_TARGETS = ("choice_labels", "choice_numbers", EXAMPLE_NUMBERS)


class Choice(Objective):
    """Choose the right one of several answers to a question."""

    type: Literal["choice"]
    choices: Annotated[int, Field(ge=2, le=64)] = 4
    """The most choices of a question. A row has room for so many sequences of
    `data.sequence_length` tokens."""
    pooling: Pooling = "first"
    """How the vectors of a sequence become one: that of its first or last token, or the mean or
    maximum over all its tokens, special tokens included."""
    head: ClassifierHead = ClassifierHead()
    template: Template = Template()

    index_type: ClassVar[ExamplesType] = Choices
    layouts: ClassVar[tuple[str, ...]] = ("choices",)
    visibilities: ClassVar[tuple[str, ...]] = ("full", "causal")
    special_roles: ClassVar[tuple[str, ...]] = ("pad", "unk", "cls", "sep")
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("choice_loss", count="questions", weight=1.0),
        Metric("accuracy", count="questions", higher_is_better=True),
    )
    targets: ClassVar[tuple[str, ...]] = _TARGETS
    ragged_tensors: ClassVar[tuple[str, ...]] = ("class_positions", *_TARGETS)
    view: ClassVar[BatchView] = BatchView(labels="choice_labels")
    segments: ClassVar[int] = 2
    perplexity_of: ClassVar[str | None] = None
    min_sequence_length: ClassVar[int] = 5

    @property
    def sequences_per_row(self) -> int:
        return self.choices

    def visibility_obstacle(self, visibility: str) -> str | None:
        if visibility == "causal" and self.pooling == "first":
            return (
                "pooling = first reads the first token, which depends on no other token if the "
                "encoder is causal. Set objective.pooling: last, mean or max."
            )
        return None

    @property
    def head_options(self) -> Mapping[str, Any]:
        return {"pooling": self.pooling, "head": self.head.effective}

    def has_head(self, names: Collection[str]) -> bool:
        return "classifier.weight" in names

    @property
    def needs_word_starts(self) -> bool:
        return False

    def special_token_count(self, texts: int) -> int:
        return self.template.row.count(texts)

    def store_obstacle(self, report: Mapping[str, int]) -> str | None:
        most = report.get("most_choices", 0)
        if most <= self.choices:
            return None
        return (
            f"a question has {most} choices, but objective.choices = {self.choices}. Set "
            f"objective.choices: {most}."
        )

    def row_lengths(self, examples: Examples) -> I64:
        assert isinstance(examples, Choices), "the index of this objective"
        return (examples.lengths + self.special_token_count(2) * np.asarray(examples.counts))[
            :, None
        ]

    @property
    def index_key(self) -> str:
        return f"choices-{self.choices}"

    def index(
        self, documents: Documents, *, size: RowSize, vocabularies: Vocabularies, seed: int
    ) -> Examples:
        """Return all questions; contexts that do not fit into a sequence are cut at their ends."""
        longest = size.source // self.choices
        return choice_questions(documents, longest, specials=self.special_token_count(2))

    def collate(
        self,
        texts: TokenSpans,
        placement: Placement,
        *,
        vocabularies: Vocabularies,
        random_source: RandomSource,
    ) -> MicroBatch:
        """Return the tensors of the sequences of all choices, each an example of its own.

        `texts` has the C sequences of the E examples of `placement`. `choice_numbers` (C): number
        of each choice in its question, from 1. `choice_labels` (C): 1 for right choices.
        """
        assert texts.labels is not None, "choices have labels"
        whole, segments = add_special_tokens(texts, vocabularies.source, self.template.row)
        apart = _choices_apart(placement, texts.lengths + self.special_token_count(2))
        pad = vocabularies.source.special_id("pad")
        tensors = row_tensors(whole.ids, apart, pad=pad, segments=segments)
        last = exclusive_cumsum(apart.lengths) + apart.lengths - 1
        tensors |= {
            "class_positions": (apart.cells[last] if self.pooling == "last" else apart.first_cells),
            "choice_labels": texts.labels,
            "choice_numbers": _numbers(placement, apart),
            EXAMPLE_NUMBERS: apart.example + 1,
        }
        return MicroBatch(
            tensors=tensors,
            counts={"questions": int(placement.example.size)},
            rows=placement.rows,
            examples=int(placement.example.size),
            tokens=int(placement.lengths.sum()),
        )

    def operations(self, shape: ModelShape) -> tuple[Operation, ...]:
        """Return the head: hidden (B, T, D) -> choice_logits (C, 1)."""
        return pooled_operations(shape, self.head, self.pooling, outputs=1, writes="choice_logits")

    @property
    def outputs(self) -> tuple[str, ...]:
        return ("choice_logits",)

    def metric_sums(
        self, outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        from ptm.nn.choices import choice_sums

        loss, hits = choice_sums(
            outputs["choice_logits"].squeeze(-1),
            tensors["choice_numbers"],
            tensors["choice_labels"],
            most=self.choices,
        )
        return {"choice_loss": loss, "accuracy": hits}


def _choices_apart(placement: Placement, lengths: I64) -> Placement:
    """The layout in which each of the C sequences of E questions is an example of its row.

    `lengths` (C): tokens of each sequence; those of a question have its length together.
    """
    ends = np.cumsum(placement.lengths)
    owner = np.searchsorted(ends, np.cumsum(lengths), side="left")
    row = placement.row[owner]
    first_of_row = np.searchsorted(row, row, side="left")
    return replace(
        placement,
        example=placement.example[owner],
        row=row,
        slot=np.arange(row.size) - first_of_row + 1,
        lengths=lengths,
        epoch=placement.epoch[owner],
    )


def _numbers(placement: Placement, apart: Placement) -> I64:
    """The number of each choice (C) in its question, from 1."""
    ends = np.cumsum(placement.lengths)
    owner = np.searchsorted(ends, np.cumsum(apart.lengths), side="left")
    return ragged_arange(np.bincount(owner, minlength=ends.size)) + 1
