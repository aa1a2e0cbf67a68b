"""Base class of the objectives: documents to examples, examples to tensors, outputs to a loss.

Shapes, in this package: B rows per micro-batch, T tokens per row, E examples, N tokens of all
examples without padding, P predicted positions or labelled examples (padded), D hidden size, V
vocabulary size.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64
from ptm.component import Config
from ptm.components.objectives.scores.diagnosis import Diagnosis
from ptm.data.documents import Documents
from ptm.data.examples import Examples, ExamplesType, TokenSpans
from ptm.data.packing import RowSize
from ptm.data.placement import Placement
from ptm.nn.model_shape import ModelShape
from ptm.plan import Operation
from ptm.store.reader import TokenStore
from ptm.text.labels import LabelSet
from ptm.text.tokenizers import Tokenizer
from ptm.text.vocabulary import Vocabularies, Vocabulary

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Metric:
    """A quantity summed over the global batch and divided by a count over the same batch.

    `weight`: its weight in the loss; 0 for a metric that is only reported.
    """

    name: str
    count: str
    weight: float = 0.0
    higher_is_better: bool = False


@dataclass(frozen=True)
class Score:
    """A quantity that is computed once from the predictions for all examples of a set.

    Unlike a `Metric` it is not a sum, so it is computed in evaluations only.
    """

    name: str
    higher_is_better: bool


EXAMPLE_NUMBERS = "example_numbers"
"""Name of the prediction that identifies what a row is about, or 0 for padding: the index of an
example + 1, or for objectives with several predictions per example a number of each."""


@dataclass(frozen=True)
class TagView:
    """Names of the class indexes of words (B, T), and of the tensor that is not 0 at words."""

    classes: str
    words: str
    names: tuple[str, ...]
    """The names of the classes."""


@dataclass(frozen=True)
class SpanView:
    """Names of the positions of the first and the last token of a span, one per example (P)."""

    first: str
    last: str


@dataclass(frozen=True)
class BatchView:
    """Names of the tensors that `ptm show --batch` prints beside the input tokens."""

    hidden: tuple[str, str, str] | None = None
    """Positions, original token ids and weights (P) of the masked tokens."""
    labels: str | None = None
    """One label per example (P)."""
    tags: TagView | None = None
    """One tag per word."""
    span: SpanView | None = None
    """One span per example."""
    targets: tuple[tuple[str, str], ...] = ()
    """What is predicted, and the name of the ids (B, T), which count where `target_weights` is not
    0."""


@dataclass(frozen=True)
class MicroBatch:
    """The input of one forward pass.

    `tensors`: model inputs and targets by name. `counts`: the denominators of the objective's
    metrics, summed over this micro-batch. `rows`, `examples`, `tokens`: the
    number of each; special tokens are counted, padding is not.
    """

    tensors: Mapping[str, NDArray[np.int64]]
    counts: Mapping[str, float]
    rows: int
    examples: int
    tokens: int


@dataclass(frozen=True)
class Prompt:
    """The token ids that a model reads before it generates."""

    begin: tuple[int, ...]
    """Tokens on the generating side (decoder, or the only stack); at least one."""
    source: tuple[int, ...] | None = None
    """Tokens that the encoder reads; None for a model without a decoder."""
    segment: int = 1
    """Segment id of `begin`."""
    next_segment: int = 1
    """Segment id of the generated tokens."""


@dataclass(frozen=True)
class RandomSource:
    """The source of the random choices in a batch, beside epoch and example index."""

    seed: int
    purpose: str
    """`train`, or the name of an evaluation set (noised alike in every evaluation)."""


class Objective(Config):
    """Base class of objectives: everything that is particular to one way of training."""

    type: str

    metrics: ClassVar[tuple[Metric, ...]]
    layouts: ClassVar[tuple[str, ...]]
    """Supported corpus layouts."""
    layouts_depend_on: ClassVar[str | None] = None
    """The option that decides which layouts are supported, besides the type."""
    visibilities: ClassVar[tuple[str, ...]]
    """Supported attention patterns of the encoder (`model.encoder.visibility`)."""
    needs_separate_directions: ClassVar[bool] = False
    """Whether the encoder must keep the two directions apart (`Encoder.separate_directions`)."""
    special_roles: ClassVar[tuple[str, ...]]
    """Roles of the special tokens that the vocabulary must have."""
    boundary_roles: ClassVar[tuple[str | None, str | None]] = ("cls", "sep")
    """Roles of the special tokens before and after a text that the model reads; None: no token.
    The first is left out if the vocabulary lacks it."""
    targets: ClassVar[tuple[str, ...]]
    """Names of the tensors that `metric_sums` reads. A row of zeros in every tensor adds
    nothing."""
    ragged_tensors: ClassVar[tuple[str, ...]] = ()
    """Names of the ragged tensors (P), which are padded with zeros; all others are (B, T)."""
    view: ClassVar[BatchView]
    """Tensors that `ptm show --batch` prints."""
    index_type: ClassVar[ExamplesType]
    """The class of the examples that `index` returns."""
    segments: ClassVar[int] = 1
    """Number of texts per example that `segment_ids` must distinguish."""
    perplexity_of: ClassVar[str | None] = "loss"
    """`loss`, or the metric, whose exponential is the perplexity; None: there is no perplexity."""
    scores: ClassVar[tuple[Score, ...]] = ()
    """What `compute_scores` returns; without scores no predictions are collected."""
    pipeline_obstacle: ClassVar[str | None] = None
    """Why the objective cannot be trained with pipeline stages; None if it can."""
    compares_batch: ClassVar[bool] = False
    """Whether the loss of an example depends on all others of the global batch. The engine then
    gathers the outputs of all micro-batches and ranks, and calls `batch_sums`."""
    label_modules: ClassVar[tuple[str, ...]] = ()
    """Modules of the head whose parameters belong to the labels: they have a row for each."""
    needs_decoder: ClassVar[bool] = False
    """Whether an example has a source for an encoder and a target for a decoder."""
    packs_sides_apart: ClassVar[bool] = True
    """Whether sources and targets may be packed into rows of their own, which moves the tensors
    (B, T) only."""
    needs_sentences: ClassVar[bool] = False
    """Whether the store must hold the sentence boundaries of documents."""
    min_sequence_length: ClassVar[int] = 3
    """The smallest usable `data.sequence_length`, in tokens."""

    def loss_weights(self, step: int) -> Mapping[str, float]:
        """Return the loss weight of every metric after `step` updates; metrics left out weigh 0."""
        return {metric.name: metric.weight for metric in self.metrics}

    def higher_is_better(self, metric: str) -> bool:
        """Return whether higher values of `metric` are better.

        The name may be that of a score, and may have the prefix of an evaluation set
        (`news/mlm_accuracy`).
        """
        name = metric.rpartition("/")[2]
        measured: tuple[Metric | Score, ...] = (*self.metrics, *self.scores)
        return any(one.name == name and one.higher_is_better for one in measured)

    @property
    def sequences_per_row(self) -> int:
        """How many sequences of `data.sequence_length` tokens the examples of a row may have."""
        return 1

    @property
    def predicts_tokens(self) -> bool:
        """Whether the head predicts tokens, so that a pretrained model has it too."""
        return self.perplexity_of is not None

    @property
    def evaluation_names(self) -> tuple[str, ...]:
        """Names of the values that an evaluation reports."""
        perplexity = () if self.perplexity_of is None else ("perplexity",)
        metrics = tuple(metric.name for metric in self.metrics)
        return ("loss", *metrics, *perplexity, *(score.name for score in self.scores))

    @property
    def label_set(self) -> LabelSet | None:
        """The labels of the corpus, for objectives with layout `labelled` or `tagged`."""
        return None

    def special_token_count(self, texts: int) -> int:
        """Number of special tokens in an example of so many texts, for objectives that read
        texts."""
        return texts + 1

    @property
    def head_options(self) -> Mapping[str, Any]:
        """The options that decide what the head computes, by key; without those of no effect."""
        head = getattr(self, "head", None)
        return {"head": dict(head)} if isinstance(head, Config) else {}

    def visibility_obstacle(self, visibility: str) -> str | None:
        """Return why the options cannot learn with an encoder of this visibility, or None."""
        return None

    @abstractmethod
    def has_head(self, names: Collection[str]) -> bool:
        """Return whether parameters of these names include the head that predicts tokens.

        Raises UserError if they include only some of the heads and no format can hold that.
        """

    def head_obstacle(self, shape: ModelShape) -> str | None:
        """Return why a model of this shape cannot have the head, with the fix; None if it can."""
        return None

    def row_obstacle(self, size: RowSize) -> str | None:
        """Return why rows of this size do not fit the options, with the fix; None if they do."""
        return None

    def store_obstacle(self, report: Mapping[str, int]) -> str | None:
        """Return why a store with these counts cannot be used, with the fix; None if it can."""
        return None

    def shape_obstacles(self, shape: ModelShape) -> Iterator[tuple[str, str]]:
        """Yield why the options do not fit a model of this shape, each with its dotted path."""
        obstacle = self.head_obstacle(shape)
        if obstacle is not None:
            yield "objective.head", obstacle

    def training_obstacles(
        self, *, dropout: float, rows: int, layout: str
    ) -> Iterator[tuple[str, str]]:
        """Yield why a training cannot learn, with the fix, each with its dotted path.

        `dropout`: the largest rate of the model. `rows`: rows of a global batch. `layout`: that of
        the corpus.
        """
        yield from ()

    @property
    def default_layout(self) -> str:
        """The default corpus layout: sentences if they are needed, else documents if supported."""
        if self.needs_sentences:
            return "sentences"
        return "documents" if "documents" in self.layouts else self.layouts[0]

    @property
    def without_teachers(self) -> Objective:
        """The objective without its teachers, by which the trained model is evaluated."""
        return self

    @property
    def teacher_sources(self) -> tuple[str, ...]:
        """Teacher models (runs, exports, imports); empty without teachers."""
        return ()

    @property
    def compares_hidden_states(self) -> bool:
        """Whether the teachers' hidden states are among the targets."""
        return False

    def teacher_targets(self, outputs: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Return targets (fp32) computed from each teacher's outputs for a micro-batch."""
        raise AssertionError(f"objective {self.type} has no teachers")

    @property
    @abstractmethod
    def needs_word_starts(self) -> bool:
        """Whether the store must hold word starts."""

    def prompt(self, text: Sequence[int], vocabularies: Vocabularies) -> Prompt | None:
        """Return the input for generating from `text` (token ids).

        None if a model trained with this objective cannot generate text.
        """
        return None

    @property
    def input_files(self) -> Mapping[str, str]:
        """Paths of the files that `with_files` reads, by the dotted field that names them."""
        return {}

    @property
    def fingerprint(self) -> str:
        """Identifies the contents of the files, after `with_files`; empty without files."""
        return ""

    def with_files(self, tokenizer: Tokenizer) -> Self:
        """Return the objective with its files read. Raises UserError if a file is unusable."""
        return self

    def check_vocabulary(self, vocabulary: Vocabulary, size: RowSize) -> None:
        """Raise UserError if the vocabulary lacks tokens that rows of this size need."""
        vocabulary.require(self.special_roles)

    @abstractmethod
    def row_lengths(self, examples: Examples) -> I64:
        """Return an upper bound of the tokens of every example, special tokens included.

        Shape (E, 1), or (E, 2) for the rows of encoder and decoder. It holds for every random draw.
        """

    @property
    def index_variants(self) -> int | None:
        """Number of different indexes that the epochs cycle through; None: one per epoch."""
        return 1

    @abstractmethod
    def index(
        self, documents: Documents, *, size: RowSize, vocabularies: Vocabularies, seed: int
    ) -> Examples:
        """Build the examples of `documents`; `seed` is that of this variant of the index."""

    @property
    @abstractmethod
    def index_key(self) -> str:
        """Cache key of the index: contains every option that `index` depends on."""

    @abstractmethod
    def collate(
        self,
        texts: TokenSpans,
        placement: Placement,
        *,
        vocabularies: Vocabularies,
        random_source: RandomSource,
    ) -> MicroBatch:
        """Return the tensors of the examples with these `texts`, in the rows of `placement`."""

    @abstractmethod
    def operations(self, shape: ModelShape) -> tuple[Operation, ...]:
        """Return the head as operations of the plan, from `hidden` to `outputs`."""

    @property
    @abstractmethod
    def outputs(self) -> tuple[str, ...]:
        """Names of the tensors that the head writes and `metric_sums` reads."""

    @abstractmethod
    def metric_sums(
        self, outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return the sum of every metric over this micro-batch (scalars, fp32)."""

    def batch_sums(
        self, outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor], mine: slice
    ) -> dict[str, Tensor]:
        """Return the sum of every metric over the examples of the micro-batches `mine`.

        For objectives with `compares_batch`. `outputs` (M, P, …) and `tensors` (M, P): those of all
        M micro-batches of a global batch, the targets included.
        """
        raise AssertionError(f"objective {self.type} does not compare the examples of a batch")

    def set_sums(self, predictions: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        """Return the sum of every metric over a whole evaluation set, as if it were one batch.

        For objectives with `compares_batch`, whose sums over micro-batches would depend on their
        size. `predictions`: as for `compute_scores`.
        """
        raise AssertionError(f"objective {self.type} does not compare the examples of a batch")

    def predictions(
        self, outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return what `compute_scores` needs, one row per example or word (P, …), by name.

        `EXAMPLE_NUMBERS` (P) says which example a row belongs to. `tensors` has the objective's
        targets.
        """
        raise AssertionError(f"objective {self.type} has no scores")

    def predictions_expected(self, examples: Examples) -> int:
        """Return the number of predictions that `compute_scores` needs for all `examples`."""
        return int(examples.lengths.size)

    def compute_scores(self, predictions: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        """Return every score from the predictions for a whole set (E, …), in its order."""
        raise AssertionError(f"objective {self.type} has no scores")

    def compute_set_scores(
        self, predictions: Mapping[str, NDArray[Any]], examples: Examples, store: TokenStore
    ) -> Mapping[str, float | None]:
        """As `compute_scores`, for scores that also depend on `examples` and texts of the `store`.

        A score that the set does not define is None.
        """
        return self.compute_scores(predictions)

    def diagnosis(self, predictions: Mapping[str, NDArray[Any]]) -> Diagnosis | None:
        """Return what the report of an evaluation shows beside scores; None if there is nothing.

        `predictions` as in `compute_scores`, whose rows are in the order of the examples.
        """
        return None
