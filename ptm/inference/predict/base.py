"""Base class of the predictors: inputs from files, answers for windows of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
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
TEXT_FIELDS = ("text_field", "text_b_field", "label_field")
"""The options for the fields of texts and pairs, with or without labels."""
_OF_SOME = ("probabilities", "threshold", "words", "n_best", "no_answer_threshold")
"""Options that only some predictors use, besides those of fields."""
_N_BEST = 20


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
    n_best: int | None = None
    """Answers per question; None: 20."""
    no_answer_threshold: float | None = None
    """How much better no answer must be than the best one; None: as in the recipe."""
    words: WordRule | None = None
    """How a model of tags splits plain text into words; None: by its vocabulary."""
    window: int = 4096
    """Inputs that are read, sorted by length and answered together."""

    @property
    def answers(self) -> int:
        """Answers per question."""
        return self.n_best or _N_BEST


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
    uses: ClassVar[tuple[str, ...]] = ("probabilities", *TEXT_FIELDS)
    """The options that have an effect here, but not on all predictors. `text_b_field` is the option
    for the field of the role `text_b`."""

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


def predictor_of(
    source: ModelSource, options: PredictionOptions, *, fields: Collection[str] = ()
) -> Predictor[Any]:
    """Return the predictor for the objective of a model.

    `fields`: the roles whose fields the options of the command name. Raises UserError if the
    objective has no predictor, or if an option has no effect on it.
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
    predictor = known[objective.type]
    values = {name: getattr(options, name) for name in _OF_SOME}
    given = [name for name, value in values.items() if value is not None and value is not False]
    for name in (*given, *(f"{role}_field" for role in fields)):
        if name not in predictor.uses:
            used_by = sorted(one.type for one in known.values() if name in one.uses)
            raise UserError(
                f"--{name.replace('_', '-')}: has no effect on a model trained with objective "
                f"{objective.type}, only with {' or '.join(used_by)}. Remove the option."
            )
    return predictor(source, options)
