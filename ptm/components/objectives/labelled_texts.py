"""What the objectives with one label per text, or pair of texts, have in common.

Devlin et al. 2018, section 4.1: [CLS] a [SEP], or [CLS] a [SEP] b [SEP], one vector per example,
and a head of dense, tanh, dropout, dense, or another one (`head`). Optionally masked tokens are
predicted on the same rows.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from ptm.arrays import I64, exclusive_cumsum
from ptm.component import Config, PositiveFloat
from ptm.components.objectives.base import (
    EXAMPLE_NUMBERS,
    BatchView,
    MicroBatch,
    Objective,
    RandomSource,
)
from ptm.components.objectives.classifier_head import ClassifierHead
from ptm.components.objectives.masked_tokens import (
    MASKED_RAGGED,
    MASKED_TARGETS,
    MASKED_VIEW,
    MlmHead,
    add_special_tokens,
    masked_lm_batch,
    masked_lm_sums,
    masked_operations,
)
from ptm.components.objectives.masking import Masking
from ptm.components.objectives.masking.token import TokenMasking
from ptm.data.documents import Documents
from ptm.data.examples import Examples, ExamplesType, TokenSpans
from ptm.data.labelled import LabelledTexts, labelled_texts
from ptm.data.packing import RowSize
from ptm.data.placement import (
    DECODER,
    DECODER_EXAMPLE_IDS,
    EXAMPLE_IDS,
    Placement,
    row_tensors,
)
from ptm.data.row_template import RowTemplate
from ptm.nn.model_shape import ModelShape, Pooling
from ptm.plan import Operation
from ptm.text.tokenizers import Tokenizer
from ptm.text.vocabulary import Vocabularies

if TYPE_CHECKING:
    from torch import Tensor


class MlmTerm(Config):
    """Masked-token prediction beside that of the label, on the same rows."""

    weight: PositiveFloat = 1.0
    """Weight of its loss; that of the labels is 1."""
    masking: Masking = TokenMasking()
    head: MlmHead = MlmHead()


class Template(Config):
    """The special tokens of an example.

    Fine-tuned models of other programs have been trained with those of their family: RoBERTa and
    BART with two separators, T5 without [CLS], GPT-2 without any.
    """

    start: bool = True
    """Whether [CLS] comes before the first text."""
    separators: Annotated[int, Field(ge=0, le=2)] = 1
    """Number of [SEP] between the texts of a pair."""
    end: bool = True
    """Whether [SEP] comes after the last text."""

    @property
    def row(self) -> RowTemplate:
        """The same as plain data."""
        return RowTemplate(self.start, self.separators, self.end)


class LabelledObjective(Objective):
    """Base class of the objectives that predict the label of a text, or of a pair of texts."""

    pooling: Pooling = "first"
    """How the vectors of an example become one: that of its first or last token, or the mean or
    maximum over all its tokens, special tokens included."""
    head: ClassifierHead = ClassifierHead()
    template: Template = Template()
    decoder_start: Literal["bos", "pad", "eos"] | None = None
    """For a model with a decoder, such as BART and T5: the role of the token that the decoder reads
    first (`decoder_start_token_id` in transformers). Then it reads the texts of the encoder, and
    `pooling` is that of its vectors: `last` in transformers."""
    mlm: MlmTerm | None = None
    """Also predict masked tokens. The head then reads the masked text."""

    index_type: ClassVar[ExamplesType] = LabelledTexts
    layouts: ClassVar[tuple[str, ...]] = ("labelled",)
    visibilities: ClassVar[tuple[str, ...]] = ("full", "causal")
    packs_sides_apart: ClassVar[bool] = False
    label_modules: ClassVar[tuple[str, ...]] = ("classifier",)
    perplexity_of: ClassVar[str | None] = None
    min_sequence_length: ClassVar[int] = 5
    label_target: ClassVar[str]
    """Name of the tensor (P) with the label of each example."""
    head_output: ClassVar[str]
    """Name of the tensor (P, C) that the head writes."""

    @model_validator(mode="after")
    def _check_decoder(self) -> Self:
        if self.decoder_start is None:
            return self
        if self.pooling == "first":
            raise ValueError(
                "pooling = first reads the first vector of the decoder, which has read no text. "
                "Set pooling: last, mean or max"
            )
        if self.mlm is not None:
            raise ValueError(
                "mlm predicts masked tokens with the encoder, but the head reads the decoder. "
                "Remove mlm or decoder_start"
            )
        return self

    @property
    def needs_decoder(self) -> bool:  # type: ignore[override]
        return self.decoder_start is not None

    @property
    @abstractmethod
    def head_size(self) -> int:
        """The number C of outputs of the head per example."""

    def loss_weights(self, step: int) -> Mapping[str, float]:
        weights = super().loss_weights(step)
        return {**weights, "mlm_loss": self.mlm.weight} if self.mlm else weights

    @property
    def special_roles(self) -> tuple[str, ...]:  # type: ignore[override]
        start = ("cls",) if self.template.start else ()
        ends = ("sep",) if self.template.separators or self.template.end else ()
        decoder = () if self.decoder_start is None else (self.decoder_start,)
        return ("pad", "unk", *start, *ends, *decoder, *(("mask",) if self.mlm else ()))

    @property
    def targets(self) -> tuple[str, ...]:  # type: ignore[override]
        return (self.label_target, EXAMPLE_NUMBERS, *(MASKED_TARGETS if self.mlm else ()))

    @property
    def ragged_tensors(self) -> tuple[str, ...]:  # type: ignore[override]
        of_labels = ("class_positions", self.label_target, EXAMPLE_NUMBERS)
        return (*of_labels, *(MASKED_RAGGED if self.mlm else ()))

    @property
    def view(self) -> BatchView:  # type: ignore[override]
        return BatchView(hidden=MASKED_VIEW.hidden if self.mlm else None)

    @property
    def head_options(self) -> Mapping[str, Any]:
        return {"pooling": self.pooling, "head": self.head.effective}

    def visibility_obstacle(self, visibility: str) -> str | None:
        if visibility != "causal":
            return None
        if self.pooling == "first":
            return (
                "pooling = first reads the first token, which depends on no other token if the "
                "encoder is causal. Set objective.pooling: last, mean or max."
            )
        if self.mlm is not None:
            return (
                "mlm predicts masked tokens from both sides, but the encoder is causal. Remove "
                "objective.mlm, or make the encoder bidirectional."
            )
        return None

    def has_head(self, names: Collection[str]) -> bool:
        return "classifier.weight" in names

    @property
    def needs_word_starts(self) -> bool:
        return self.mlm is not None and self.mlm.masking.needs_word_starts

    @property
    def input_files(self) -> Mapping[str, str]:
        files = self.mlm.masking.input_files if self.mlm else {}
        return {f"mlm.masking.{field}": path for field, path in files.items()}

    @property
    def fingerprint(self) -> str:
        return self.mlm.masking.fingerprint if self.mlm else ""

    def with_files(self, tokenizer: Tokenizer) -> Self:
        if self.mlm is None:
            return self
        masking = self.mlm.masking.with_files(tokenizer)
        return self.model_copy(update={"mlm": self.mlm.model_copy(update={"masking": masking})})

    def row_lengths(self, examples: Examples) -> I64:
        assert isinstance(examples, LabelledTexts), "the index of this objective"
        parts = examples.part_lengths.shape[1]
        lengths = np.asarray(examples.lengths) + self.special_token_count(parts)
        # The decoder reads as many tokens as the encoder.
        return np.stack([lengths] * (1 + self.needs_decoder), axis=1)

    def special_token_count(self, texts: int) -> int:
        return self.template.row.count(texts)

    @property
    def index_key(self) -> str:
        if self.template == Template():
            return "labelled"
        counts = (self.special_token_count(texts) for texts in (1, 2))
        return f"labelled-{'-'.join(map(str, counts))}"

    def index(
        self, documents: Documents, *, size: RowSize, vocabularies: Vocabularies, seed: int
    ) -> Examples:
        """Return all labelled texts; what does not fit into a row is cut off at their ends."""
        longest = min(size.source, size.target) if self.needs_decoder else size.source
        return labelled_texts(documents, longest, specials=self.special_token_count)

    def label_counts(self, labels: I64) -> Mapping[str, float]:
        """Return further denominators of metrics, given the labels of a micro-batch (P)."""
        return {}

    def collate(
        self,
        texts: TokenSpans,
        placement: Placement,
        *,
        vocabularies: Vocabularies,
        random_source: RandomSource,
    ) -> MicroBatch:
        """Return the tensors of [CLS] a [SEP], or [CLS] a [SEP] b [SEP], and the labels."""
        assert texts.labels is not None, "labelled texts have labels"
        vocabulary = vocabularies.source
        counts: dict[str, float] = {"examples": placement.example.size}
        counts |= self.label_counts(texts.labels)
        if self.mlm is not None:
            masked = masked_lm_batch(
                texts,
                placement,
                self.mlm.masking,
                vocabulary=vocabulary,
                random_source=random_source,
                template=self.template.row,
            )
            tensors = dict(masked.tensors)
            counts |= masked.counts
        else:
            whole, segments = add_special_tokens(texts, vocabulary, self.template.row)
            pad = vocabulary.special_id("pad")
            tensors = row_tensors(whole.ids, placement, pad=pad, segments=segments)
            if self.decoder_start is not None:
                placement = placement.side(placement.lengths, placement.target_columns)
                read = np.roll(whole.ids, 1)
                read[exclusive_cumsum(placement.lengths)] = vocabulary.special_id(
                    self.decoder_start
                )
                tensors |= row_tensors(read, placement, pad=pad, segments=segments, side=DECODER)
        last = exclusive_cumsum(placement.lengths) + placement.lengths - 1
        tensors |= {
            "class_positions": (
                placement.cells[last] if self.pooling == "last" else placement.first_cells
            ),
            self.label_target: texts.labels,
            EXAMPLE_NUMBERS: placement.example + 1,
        }
        return MicroBatch(
            tensors=tensors,
            counts=counts,
            rows=placement.rows,
            examples=int(placement.example.size),
            tokens=int(placement.lengths.sum()),
        )

    def operations(self, shape: ModelShape) -> tuple[Operation, ...]:
        """Return the head: hidden (B, T, D) -> `head_output` (P, C), and that of `mlm`."""
        from torch import nn

        from ptm.nn.example_pooling import ExamplePooler

        ids = DECODER_EXAMPLE_IDS if self.needs_decoder else EXAMPLE_IDS
        head = (
            Operation(
                "pooler",
                partial(ExamplePooler, shape, self.pooling, **self.head.transform),
                ("hidden", ids, "class_positions"),
                ("pooled",),
            ),
            Operation(
                "classifier",
                partial(nn.Linear, shape.hidden_size, self.head_size, bias=self.head.bias),
                ("pooled",),
                (self.head_output,),
            ),
        )
        return (*head, *masked_operations(self.mlm.head, shape)) if self.mlm else head

    @property
    def outputs(self) -> tuple[str, ...]:
        return (self.head_output, *(("logits",) if self.mlm else ()))

    def masked_sums(
        self, outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return the sums of the metrics of `mlm`; empty without it."""
        return masked_lm_sums(outputs, tensors) if self.mlm else {}
