"""What every objective is: how documents become examples, examples tensors, and outputs a loss."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64
from ptm.component import Config
from ptm.data.documents import Documents
from ptm.data.examples import Examples, ExamplesType, Texts
from ptm.data.packing import RowSize
from ptm.data.placement import Placement
from ptm.nn.model_shape import ModelShape
from ptm.plan import Step
from ptm.text.tokenizers import Tokenizer
from ptm.text.vocabulary import Vocabularies, Vocabulary

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Metric:
    """A sum over the global batch divided by a count of it.

    `weight` is its share in the loss; 0 for what is only watched.
    """

    name: str
    count: str
    weight: float = 0.0
    higher_is_better: bool = False


@dataclass(frozen=True)
class BatchView:
    """What `ptm show --batch` prints beside the tokens that are read, by the names of tensors."""

    hidden: tuple[str, str, str] | None = None
    """Positions, ids and weights (P) of tokens that are hidden in the rows."""
    labels: str | None = None
    """A number per example (P)."""
    targets: tuple[str, str] | None = None
    """Ids and weights (B, T) of what is to be predicted at each place."""


@dataclass(frozen=True)
class MicroBatch:
    """What one forward takes.

    `tensors`: model inputs and targets by name. `counts`: what the objective's metrics are divided
    by, as summed here. `rows`, `examples`, `tokens` (real ones, specials included).
    """

    tensors: Mapping[str, NDArray[np.int64]]
    counts: Mapping[str, int]
    rows: int
    examples: int
    tokens: int


@dataclass(frozen=True)
class Prompt:
    """What a model reads before it goes on with a text of its own."""

    begin: tuple[int, ...]
    """Tokens on the side that predicts; at least one."""
    source: tuple[int, ...] | None = None
    """Tokens that the encoder reads, where a decoder goes on."""
    segment: int = 1
    """Of `begin`."""
    next_segment: int = 1
    """Of the tokens to come."""


@dataclass(frozen=True)
class Drawing:
    """What makes the random choices of a batch: nothing else does."""

    seed: int
    purpose: str
    """`train`, or the name of an evaluation set, whose draws are always the same."""


class Objective(Config):
    """Everything that is particular to a way of training."""

    type: str

    metrics: ClassVar[tuple[Metric, ...]]
    layouts: ClassVar[tuple[str, ...]]
    visibilities: ClassVar[tuple[str, ...]]
    special_roles: ClassVar[tuple[str, ...]]
    """Special tokens that the vocabulary must have."""
    targets: ClassVar[tuple[str, ...]]
    """Names of the tensors that `sums` reads; a row of zeros in all tensors adds nothing to it."""
    padded: ClassVar[tuple[str, ...]] = ()
    """Names of tensors (P) of any length, to which zeros may be appended; the others are (B, T)."""
    view: ClassVar[BatchView]
    index_type: ClassVar[ExamplesType]
    """The kind of examples that `index` gives."""
    segments: ClassVar[int] = 1
    """Texts of an example that `segment_ids` tell apart."""
    perplexity_of: ClassVar[str | None] = None
    """The metric whose exponential is the perplexity; None: the loss."""
    no_stages: ClassVar[str | None] = None
    """Why it cannot be trained in pipeline stages; None where it can."""
    needs_decoder: ClassVar[bool] = False
    """Whether an example has a source and a target, of which a decoder reads one."""
    needs_sentences: ClassVar[bool] = False
    """Whether documents must be known sentence by sentence."""
    shortest_row: ClassVar[int] = 3
    """Tokens that a row must at least be able to hold."""

    def weights_at(self, step: int) -> Mapping[str, float]:
        """The share of every metric in the loss after `step` updates; 0 for those left out."""
        return {metric.name: metric.weight for metric in self.metrics}

    def higher_is_better(self, metric: str) -> bool:
        """Whether more of `metric` is better, which may begin with the name of a set (`news/…`)."""
        name = metric.rpartition("/")[2]
        return any(one.name == name and one.higher_is_better for one in self.metrics)

    @abstractmethod
    def has_head(self, names: Collection[str]) -> bool:
        """Whether a model with parameters of these names has the head that predicts tokens.

        Raises UserError where it has a part of its heads with which no format holds it.
        """

    @property
    def usual_layout(self) -> str:
        """What a corpus is read as where nothing says otherwise: documents, if it can."""
        if self.needs_sentences:
            return "sentences"
        return "documents" if "documents" in self.layouts else self.layouts[0]

    @property
    def alone(self) -> Objective:
        """What a model is judged by without anything that only its training had."""
        return self

    @property
    def teacher_sources(self) -> tuple[str, ...]:
        """Models (runs, exports, imports) whose outputs are targets; empty without teachers."""
        return ()

    @property
    def compares_hidden_states(self) -> bool:
        """Whether the hidden states of teachers are among the targets."""
        return False

    def teacher_targets(self, outputs: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Targets, fp32, from what each teacher's model gave for a micro-batch."""
        raise AssertionError(f"{self.type} has no teachers")

    @property
    @abstractmethod
    def needs_word_starts(self) -> bool:
        """Whether the store must know where words begin."""

    def prompt(self, text: Sequence[int], vocabularies: Vocabularies) -> Prompt | None:
        """What is read before a text that goes on from `text` (ids); None: it writes no texts."""
        return None

    @property
    def input_files(self) -> tuple[str, ...]:
        """Files that it names and reads."""
        return ()

    @property
    def fingerprint(self) -> str:
        """Changes with what the files of a `prepared` objective say."""
        return ""

    def prepared(self, tokenizer: Tokenizer) -> Self:
        """With its files read, if it has any. Raises UserError where they are of no use."""
        return self

    def refuse_unfit(self, vocabulary: Vocabulary, size: RowSize) -> None:
        """Raise UserError where the vocabulary lacks what rows of this size need."""
        vocabulary.require(self.special_roles)

    @abstractmethod
    def row_lengths(self, examples: Examples) -> I64:
        """The most tokens of every example in its row (E, 1), or in its rows of both sides (E, 2).

        Whatever is drawn later, none has more.
        """

    @property
    def index_drawings(self) -> int | None:
        """How many different indexes the epochs cycle through; None: each has its own."""
        return 1

    @abstractmethod
    def index(
        self, documents: Documents, *, size: RowSize, vocabularies: Vocabularies, seed: int
    ) -> Examples:
        """The examples of `documents`; `seed` is of this drawing of them."""

    @property
    @abstractmethod
    def index_key(self) -> str:
        """Names every option that `index` depends on."""

    @abstractmethod
    def collate(
        self,
        texts: Texts,
        placement: Placement,
        *,
        vocabularies: Vocabularies,
        drawing: Drawing,
    ) -> MicroBatch:
        """The tensors of the examples of which these are the texts, at their places."""

    @abstractmethod
    def steps(self, shape: ModelShape) -> tuple[Step, ...]:
        """The head: from `hidden` to `outputs`."""

    @property
    @abstractmethod
    def outputs(self) -> tuple[str, ...]:
        """Names the head writes and `sums` reads."""

    @abstractmethod
    def sums(
        self, outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """For every metric, its sum over this micro-batch (scalars, fp32)."""
