"""Base class of the predictors: inputs from files, answers for windows of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, TypeVar

from ptm.component import classes_in
from ptm.errors import UserError
from ptm.interop.sources.base import ModelSource
from ptm.text.corpus import Format
from ptm.text.plain_words import WordRule

Input = TypeVar("Input")

Precision = Literal["fp32", "bf16"]
OutputFormat = Literal["tsv", "json_lines", "squad"]
_MULTI_LABEL = "multi_label_classification"


@dataclass(frozen=True)
class InputFiles:
    """The files to predict for, and how they are read."""

    patterns: tuple[str, ...]
    """Paths, folders, globs and URLs, in order; `-` is standard input."""
    format: Format | None = None
    """None: recognised, file by file."""
    encoding: str = "utf-8"
    fields: Mapping[str, str] = field(default_factory=dict)
    """Role -> name of the field that has it. Other roles have those of the model's recipe."""


@dataclass(frozen=True)
class PredictionOptions:
    """How a model predicts."""

    probabilities: bool = False
    """Whether the cells of an answer include the probability of every class."""
    sequence_length: int | None = None
    """Tokens of the longest input, special tokens included; None: as in the model's training."""
    threshold: float | None = None
    """Probability from which a label is predicted, of models whose texts may have several labels;
    None: as in the model's recipe."""
    precision: Precision = "fp32"
    n_best: int = 20
    """Answers per question."""
    no_answer_threshold: float | None = None
    """How much better no answer must be than the best one; None: as in the recipe."""
    words: WordRule | None = None
    """How a model of tags splits plain text into words; None: by its vocabulary."""
    window: int = 4096
    """Inputs that are read, sorted by length and answered together."""


@dataclass(frozen=True)
class Window(Generic[Input]):
    """Inputs that follow each other in the files."""

    inputs: Sequence[Input]
    bytes_read: int
    """Bytes of the files that were read up to their end."""
    bytes_total: int
    """Bytes of all files; 0 if a server does not give them."""


@dataclass(frozen=True)
class Prediction:
    """The answer for one input."""

    values: Mapping[str, Any]
    """As an object of JSON lines."""
    cells: tuple[str, ...]
    """As a line of TSV: one cell per column."""
    lines: tuple[tuple[str, ...], ...] | None = None
    """Instead of `cells`: any number of lines of TSV."""


class Predictor(ABC, Generic[Input]):
    """Answers the inputs of one objective with a trained model."""

    type: ClassVar[str]
    """The type of the objective."""
    formats: ClassVar[tuple[OutputFormat, ...]] = ("tsv", "json_lines")
    """The formats of its output."""
    uses: ClassVar[tuple[str, ...]] = ("probabilities",)
    """Those of the options `probabilities` and `words` that have an effect."""

    @abstractmethod
    def __init__(self, source: ModelSource, options: PredictionOptions) -> None:
        """Load the model. Raises UserError if its weights lack the objective's head."""

    @abstractmethod
    def windows(self, files: InputFiles) -> Iterator[Window[Input]]:
        """Read the inputs in order, at most `options.window` at a time.

        Raises UserError if a file cannot be read or lacks what the model needs.
        """

    @abstractmethod
    def columns(self, first: Window[Input]) -> tuple[str, ...]:
        """Return the names of the columns of TSV, given the first inputs; called before `predict`.

        They hold for all inputs.
        """

    @abstractmethod
    def predict(self, inputs: Sequence[Input]) -> list[Prediction]:
        """Return one answer per input, in their order."""

    @abstractmethod
    def notes(self) -> list[str]:
        """Return sentences about all inputs so far: what was cut or could not be read, scores."""


def predictor_of(source: ModelSource, options: PredictionOptions) -> Predictor[Any]:
    """Return the predictor for the objective of a model.

    Raises UserError if the objective has no predictor.
    """
    objective = source.recipe().objective.without_teachers
    base: type[Predictor[Any]] = Predictor  # type: ignore[type-abstract]
    known = {one.type: one for one in classes_in(__package__, base)}
    if objective.type not in known:
        raise UserError(
            f"{source.folder}: a model trained with objective {objective.type} has no head that "
            f"`ptm predict` needs. Supported: {', '.join(sorted(known))}. Fine-tune it with one of "
            "them: set init_from to this model."
        )
    if options.threshold is not None and objective.type != _MULTI_LABEL:
        raise UserError(
            f"--threshold is for models with objective {_MULTI_LABEL}, but {source.folder} has "
            f"objective {objective.type}. Remove it."
        )
    predictor = known[objective.type]
    for name in ("probabilities", "words"):
        if getattr(options, name) and name not in predictor.uses:
            raise UserError(
                f"--{name}: has no effect on a model trained with objective {objective.type}. "
                "Remove the option."
            )
    return predictor(source, options)
