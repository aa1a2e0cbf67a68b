"""Parts shared by all objectives with masked tokens: `masking` block, tensors, head and loss.

Devlin et al. 2018, section 3.1. Shapes: see `ptm.components.objectives.base`; K texts per example.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from ptm.arrays import I64, exclusive_cumsum, ragged_ranges
from ptm.component import Config
from ptm.components.objectives.base import BatchView, Metric, MicroBatch, Objective, RandomSource
from ptm.components.objectives.masking import Maskable, Masking
from ptm.components.objectives.masking.token import TokenMasking
from ptm.data.examples import TokenSpans
from ptm.data.placement import Placement, row_tensors
from ptm.data.row_template import USUAL, RowTemplate
from ptm.nn.model_shape import ModelShape
from ptm.plan import Operation
from ptm.text.tokenizers import Tokenizer
from ptm.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch import Tensor

MASKED_ROLES = ("pad", "unk", "cls", "sep", "mask")
MASKED_TARGETS = ("predicted_ids", "predicted_weights")
MASKED_RAGGED = ("predicted_positions", *MASKED_TARGETS)
MASKED_VIEW = BatchView(hidden=("predicted_positions", *MASKED_TARGETS))
MASKED_METRICS = (
    Metric("mlm_loss", count="predicted", weight=1.0),
    Metric("mlm_accuracy", count="predicted", higher_is_better=True),
)


class MlmHead(Config):
    """Options of the output layer."""

    tied: bool = True
    """Whether the output matrix is the word embedding."""
    bias: bool = True
    """Whether the output layer has a bias."""


def length_with_special_tokens(text_lengths: I64, *, parts: int) -> I64:
    """Return the lengths (E) of examples of `parts` texts with their [CLS] and [SEP] tokens."""
    return np.asarray(text_lengths) + parts + 1


def add_special_tokens(
    texts: TokenSpans, vocabulary: Vocabulary, template: RowTemplate = USUAL
) -> tuple[Maskable, I64]:
    """Add special tokens: [CLS] text [SEP], or [CLS] text [SEP] text [SEP], or as `template` says.

    Returns the tokens, and for each token (N) the number of its text within the example, from 1.
    [CLS] belongs to the first text, a [SEP] to the text before it.
    """
    examples, count = texts.part_lengths.shape
    lengths = np.asarray(texts.lengths) + template.count(count)
    first = exclusive_cumsum(lengths)
    # Each text with its [SEP] (E, K), and the index right after these (E, K).
    separators = [template.separators] * (count - 1) + [int(template.end)]
    with_separators = texts.part_lengths + np.array(separators, dtype=np.int64)
    after = first[:, None] + int(template.start) + np.cumsum(with_separators, axis=1)
    # The indexes of all text tokens.
    inner = ragged_ranges((after - with_separators).ravel(), texts.part_lengths.ravel())
    sep = vocabulary.special_id("sep") if any(separators) else 0
    ids = np.full(int(lengths.sum()), sep, dtype=np.int64)
    if template.start:
        ids[first] = vocabulary.special_id("cls")
    ids[inner] = texts.tokens
    words = None
    if texts.word_starts is not None:
        words = np.ones(ids.size, dtype=bool)
        words[inner] = texts.word_starts
    # [CLS] belongs to the first text.
    with_separators[:, 0] += int(template.start)
    number = np.broadcast_to(np.arange(1, count + 1), (examples, count))
    maskable = Maskable(
        ids=ids,
        special=vocabulary.is_special[ids],
        word_starts=words,
        owner=np.repeat(np.arange(examples), lengths),
        examples=examples,
    )
    return maskable, np.repeat(number.ravel(), with_separators.ravel())


def masked_lm_batch(
    texts: TokenSpans,
    placement: Placement,
    masking: Masking,
    *,
    vocabulary: Vocabulary,
    random_source: RandomSource,
    template: RowTemplate = USUAL,
) -> MicroBatch:
    """Return the tensors of the texts with special tokens, masked, in the rows of `placement`."""
    text, segments = add_special_tokens(texts, vocabulary, template)
    masked = masking.apply(
        text,
        example=placement.example,
        epoch=placement.epoch,
        seed=random_source.seed,
        purpose=random_source.purpose,
        vocabulary=vocabulary,
    )
    at = np.flatnonzero(masked.predicted)
    pad = vocabulary.special_id("pad")
    tensors = {
        **row_tensors(masked.inputs, placement, pad=pad, segments=segments),
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


def masked_operations(head: MlmHead, shape: ModelShape) -> tuple[Operation, ...]:
    """Return the masked-LM head: hidden (B, T, D) -> logits (P, V) at the predicted positions."""
    from ptm.nn.embedding import tied_unembedding_operation
    from ptm.nn.heads import OutputBias, PredictedTransform, Unembedding

    transform = Operation(
        "mlm_transform",
        lambda: PredictedTransform(shape),
        ("hidden", "predicted_positions"),
        ("hidden",),
    )
    if head.tied:
        unembed = tied_unembedding_operation("mlm_unembed", shape, reads="hidden", writes="logits")
    else:
        unembed = Operation("mlm_unembed", lambda: Unembedding(shape), ("hidden",), ("logits",))
    bias = Operation(
        "mlm_bias", lambda: OutputBias(shape.vocabulary_size), ("logits",), ("logits",)
    )
    return (transform, unembed, bias) if head.bias else (transform, unembed)


def masked_lm_sums(
    outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return cross entropy and correct predictions, summed over the predicted positions."""
    from ptm.nn.heads import class_sums

    loss, hits = class_sums(
        outputs["logits"], tensors["predicted_ids"], tensors["predicted_weights"]
    )
    return {"mlm_loss": loss, "mlm_accuracy": hits}


class MaskedObjective(Objective):
    """Base class of the objectives that predict masked tokens."""

    masking: Masking = TokenMasking()

    view: ClassVar[BatchView] = MASKED_VIEW

    @property
    def needs_word_starts(self) -> bool:
        return self.masking.needs_word_starts

    @property
    def input_files(self) -> Mapping[str, str]:
        return {f"masking.{field}": path for field, path in self.masking.input_files.items()}

    @property
    def fingerprint(self) -> str:
        return self.masking.fingerprint

    def with_files(self, tokenizer: Tokenizer) -> Self:
        return self.model_copy(update={"masking": self.masking.with_files(tokenizer)})

    def has_head(self, names: Collection[str]) -> bool:
        # Every masked-LM head has this transform before its output layer.
        return "mlm_transform.dense.weight" in names
