"""Masked language modelling: RoBERTa, BERT-WWM and SpanBERT differ in `masking` alone.

Devlin et al. 2018 (section 3.1), Liu et al. 2019 (section 4), Cui et al. 2019, Joshi et al. 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ptm.component import Config
from ptm.data.batch import Placement
from ptm.data.examples import Examples, Joined, Pieces, Texts, cut_documents, join_documents
from ptm.data.store import I64, TokenStore, ragged_ranges
from ptm.nn.shape import ModelShape
from ptm.nn.vocabulary_head import OutputBias, PredictedTransform, Unembedding
from ptm.nn.word_embedding import tied_unembedding_step
from ptm.objectives.contract import Drawing, Metric, MicroBatch
from ptm.objectives.masked_objective import MaskedObjective
from ptm.objectives.masking import Maskable
from ptm.plan import Step
from ptm.text.vocabulary import Vocabulary

_AROUND = 2
"""[CLS] before and [SEP] after every text."""


class MlmHead(Config):
    """The output layer."""

    tied: bool = True
    """Whether the output matrix is the word embedding's."""
    bias: bool = True


class Mlm(MaskedObjective):
    """Predict the tokens that masking hides."""

    type: Literal["mlm"]
    full_sentences: bool = False
    """Join all documents with [SEP] and fill every row, instead of one document an example."""
    head: MlmHead = MlmHead()

    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("mlm_loss", count="predicted", weight=1.0),
        Metric("mlm_accuracy", count="predicted"),
    )
    layouts: ClassVar[tuple[str, ...]] = ("documents", "sentences")
    visibilities: ClassVar[tuple[str, ...]] = ("full",)
    special_roles: ClassVar[tuple[str, ...]] = ("pad", "unk", "cls", "sep", "mask")
    targets: ClassVar[tuple[str, ...]] = ("predicted_ids", "predicted_weights")
    padded: ClassVar[tuple[str, ...]] = (
        "predicted_positions",
        "predicted_ids",
        "predicted_weights",
    )

    def row_length(self, text_lengths: I64) -> I64:
        """The text and the special tokens around it."""
        return np.asarray(text_lengths) + _AROUND

    @property
    def index_key(self) -> str:
        """Masking is drawn later: only the cutting matters."""
        return "joined" if self.full_sentences else "pieces"

    def index(
        self, starts: I64, lengths: I64, *, sequence_length: int, vocabulary: Vocabulary
    ) -> Examples:
        """Documents cut into pieces that fit a row, or joined and cut into full rows."""
        longest = sequence_length - _AROUND
        if self.full_sentences:
            separator = vocabulary.special_id("sep")
            return join_documents(starts, lengths, longest, separator=separator)
        return cut_documents(starts, lengths, longest)

    def index_of(self, arrays: Mapping[str, NDArray[Any]]) -> Examples:
        """The index from its arrays."""
        return Joined(**arrays) if self.full_sentences else Pieces(**arrays)

    def collate(
        self,
        store: TokenStore,
        examples: Examples,
        placement: Placement,
        *,
        vocabulary: Vocabulary,
        drawing: Drawing,
    ) -> MicroBatch:
        """[CLS] text [SEP], masked, at their places."""
        text = self._surrounded(examples.texts(store, placement.example), vocabulary)
        masked = self.masking.apply(
            text,
            example=placement.example,
            epoch=placement.epoch,
            seed=drawing.seed,
            purpose=drawing.purpose,
            vocabulary=vocabulary,
        )
        at = np.flatnonzero(masked.predicted)
        number = np.repeat(placement.number, placement.lengths)
        tensors = {
            "input_ids": placement.grid(masked.inputs, fill=vocabulary.special_id("pad")),
            "position_ids": placement.grid(placement.positions, fill=0),
            "segment_ids": placement.grid(np.ones_like(number), fill=0),
            "example_ids": placement.grid(number, fill=0),
            "predicted_positions": placement.cells[at],
            "predicted_ids": text.ids[at],
            "predicted_weights": np.ones_like(at),
        }
        return MicroBatch(
            tensors=tensors,
            counts={"predicted": int(at.size)},
            rows=placement.rows,
            examples=int(placement.example.size),
            tokens=int(text.ids.size),
        )

    def _surrounded(self, texts: Texts, vocabulary: Vocabulary) -> Maskable:
        lengths = texts.lengths + _AROUND
        first = np.cumsum(lengths) - lengths
        inner = ragged_ranges(first + 1, texts.lengths)
        ids = np.empty(int(lengths.sum()), dtype=np.int64)
        ids[first] = vocabulary.special_id("cls")
        ids[first + lengths - 1] = vocabulary.special_id("sep")
        ids[inner] = texts.tokens
        words = None
        if texts.word_starts is not None:
            words = np.ones(ids.size, dtype=bool)
            words[inner] = texts.word_starts
        return Maskable(
            ids=ids,
            special=vocabulary.is_special[ids],
            word_starts=words,
            owner=np.repeat(np.arange(lengths.size), lengths),
            examples=lengths.size,
        )

    def steps(self, shape: ModelShape) -> tuple[Step, ...]:
        """hidden -> logits (P, V) at the predicted positions."""
        transform = Step(
            "mlm_transform",
            lambda: PredictedTransform(shape),
            ("hidden", "predicted_positions"),
            ("hidden",),
        )
        if self.head.tied:
            unembed = tied_unembedding_step("mlm_unembed", shape, reads="hidden", writes="logits")
        else:
            unembed = Step("mlm_unembed", lambda: Unembedding(shape), ("hidden",), ("logits",))
        bias = Step("mlm_bias", lambda: OutputBias(shape.vocabulary_size), ("logits",), ("logits",))
        return (transform, unembed, bias) if self.head.bias else (transform, unembed)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The logits alone."""
        return ("logits",)

    def sums(
        self, outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Cross entropy and hits, summed over the predicted positions."""
        logits = outputs["logits"].float()
        targets, weights = tensors["predicted_ids"], tensors["predicted_weights"]
        ignored = targets.masked_fill(weights == 0, -100)
        hits = (logits.detach().argmax(dim=-1) == targets) & (weights != 0)
        return {
            "mlm_loss": F.cross_entropy(logits, ignored, ignore_index=-100, reduction="sum"),
            "mlm_accuracy": hits.sum().float(),
        }
