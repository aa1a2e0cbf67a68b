"""What all objectives with masked tokens share: their tensors, their head, their loss.

Devlin et al. 2018, section 3.1.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from ptm.arrays import I64, exclusive_cumsum, ragged_ranges
from ptm.component import Config
from ptm.components.objectives.base import Drawing, Metric, MicroBatch
from ptm.components.objectives.masking import Maskable, Masking
from ptm.components.objectives.row_tensors import row_tensors
from ptm.data.examples import Texts
from ptm.data.placement import Placement
from ptm.nn.shape import ModelShape
from ptm.nn.vocabulary_head import OutputBias, PredictedTransform, Unembedding
from ptm.nn.word_embedding import tied_unembedding_step
from ptm.plan import Step
from ptm.text.vocabulary import Vocabulary

MASKED_ROLES = ("pad", "unk", "cls", "sep", "mask")
MASKED_TARGETS = ("predicted_ids", "predicted_weights")
MASKED_PADDED = ("predicted_positions", *MASKED_TARGETS)
MASKED_METRICS = (
    Metric("mlm_loss", count="predicted", weight=1.0),
    Metric("mlm_accuracy", count="predicted"),
)


class MlmHead(Config):
    """The output layer."""

    tied: bool = True
    """Whether the output matrix is the word embedding's."""
    bias: bool = True


def surrounded_length(text_lengths: I64, *, parts: int) -> I64:
    """Tokens of examples of so many texts, with [CLS] before them and [SEP] after each."""
    return np.asarray(text_lengths) + parts + 1


def surrounded(texts: Texts, vocabulary: Vocabulary) -> tuple[Maskable, I64]:
    """[CLS] text [SEP], or [CLS] text [SEP] text [SEP], and which text each token belongs to.

    Texts count from 1; [CLS] belongs to the first, a [SEP] to the text before it.
    """
    examples, count = texts.parts.shape
    lengths = surrounded_length(texts.lengths, parts=count)
    first = exclusive_cumsum(lengths)
    with_separators = texts.parts + 1
    after = first[:, None] + 1 + np.cumsum(with_separators, axis=1)
    inner = ragged_ranges((after - with_separators).ravel(), texts.parts.ravel())
    ids = np.empty(int(lengths.sum()), dtype=np.int64)
    ids[first] = vocabulary.special_id("cls")
    ids[after - 1] = vocabulary.special_id("sep")
    ids[inner] = texts.tokens
    words = None
    if texts.word_starts is not None:
        words = np.ones(ids.size, dtype=bool)
        words[inner] = texts.word_starts
    with_separators[:, 0] += 1
    number = np.broadcast_to(np.arange(1, count + 1), (examples, count))
    maskable = Maskable(
        ids=ids,
        special=vocabulary.is_special[ids],
        word_starts=words,
        owner=np.repeat(np.arange(examples), lengths),
        examples=examples,
    )
    return maskable, np.repeat(number.ravel(), with_separators.ravel())


def masked_batch(
    texts: Texts,
    placement: Placement,
    masking: Masking,
    *,
    vocabulary: Vocabulary,
    drawing: Drawing,
) -> MicroBatch:
    """The texts between special tokens, masked, at their places."""
    text, segments = surrounded(texts, vocabulary)
    masked = masking.apply(
        text,
        example=placement.example,
        epoch=placement.epoch,
        seed=drawing.seed,
        purpose=drawing.purpose,
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


def masked_steps(head: MlmHead, shape: ModelShape) -> tuple[Step, ...]:
    """hidden -> logits (P, V) at the predicted positions."""
    transform = Step(
        "mlm_transform",
        lambda: PredictedTransform(shape),
        ("hidden", "predicted_positions"),
        ("hidden",),
    )
    if head.tied:
        unembed = tied_unembedding_step("mlm_unembed", shape, reads="hidden", writes="logits")
    else:
        unembed = Step("mlm_unembed", lambda: Unembedding(shape), ("hidden",), ("logits",))
    bias = Step("mlm_bias", lambda: OutputBias(shape.vocabulary_size), ("logits",), ("logits",))
    return (transform, unembed, bias) if head.bias else (transform, unembed)


def class_sums(logits: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Cross entropy and hits of `logits` (P, C), summed where `weights` (P) are not 0; fp32."""
    logits = logits.float()
    ignored = targets.masked_fill(weights == 0, -100)
    hits = (logits.detach().argmax(dim=-1) == targets) & (weights != 0)
    loss = F.cross_entropy(logits, ignored, ignore_index=-100, reduction="sum")
    return loss, hits.sum().float()


def masked_sums(outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Cross entropy and hits over the predicted positions."""
    loss, hits = class_sums(
        outputs["logits"], tensors["predicted_ids"], tensors["predicted_weights"]
    )
    return {"mlm_loss": loss, "mlm_accuracy": hits}
