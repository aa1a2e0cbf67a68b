"""The recipe's `data` block: what is read."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from ptm.component import Config, Listed, NonNegativeInt
from ptm.data.packing import RowSize
from ptm.text.corpus import Layout
from ptm.text.segmenters import AnySegmenter

Paths = Annotated[tuple[str, ...], Listed]
SetName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]

EVAL = "eval"
"""The evaluation set that is held out of the training's own store."""
_TAKEN = (EVAL, "train", "perf")


def metric_key(evaluation: str, metric: str) -> str:
    """`loss` of what is held out, `news/loss` of the set `news`."""
    return metric if evaluation == EVAL else f"{evaluation}/{metric}"


class CorpusBlock(Config):
    """Text, and what becomes of it."""

    corpus: str | Paths
    """A path, a glob or a list of them; plain text, .gz, .xz or .zst."""
    store: str
    """The folder that `ptm preprocess` writes and training and evaluation read."""

    @property
    def corpus_patterns(self) -> tuple[str, ...]:
        """The corpus as a list of paths and globs."""
        return (self.corpus,) if isinstance(self.corpus, str) else self.corpus


class DataBlock(CorpusBlock):
    """What is read."""

    layout: Layout
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.01
    """Share of the distinct documents kept for evaluation."""
    evaluation: dict[SetName, CorpusBlock] | None = None
    """Further corpora to evaluate on, each whole, by name."""
    sequence_length: Annotated[int, Field(ge=4)]
    target_sequence_length: Annotated[int, Field(ge=4)] | None = None
    """Tokens of a row on the decoder's side; as sequence_length if left out."""
    packing: bool = True
    """Whether several short examples share a row."""
    sentence_splitting: bool = False
    """Whether `ptm preprocess` splits the lines of the layout `documents` into sentences."""
    segmenter: AnySegmenter | None = None
    """Finds words on the text; needed for whole-word masking."""
    workers: NonNegativeInt = 0
    """Processes of `ptm preprocess`; 0: one a core."""

    @model_validator(mode="after")
    def _names_are_free(self) -> DataBlock:
        taken = sorted(set(self.evaluation or ()) & set(_TAKEN))
        if taken:
            raise ValueError(
                f'evaluation.{taken[0]}: "{taken[0]}" has a meaning of its own in reports; choose '
                "another name"
            )
        return self

    @model_validator(mode="after")
    def _stores_are_apart(self) -> DataBlock:
        stores = {self.store: "data.store"}
        for name, block in (self.evaluation or {}).items():
            if block.store in stores:
                raise ValueError(
                    f'evaluation.{name}.store: "{block.store}" is that of {stores[block.store]} '
                    "already: name another folder"
                )
            stores[block.store] = f"data.evaluation.{name}"
        return self

    @property
    def row_size(self) -> RowSize:
        """Tokens of a row on both sides."""
        return RowSize(self.sequence_length, self.target_sequence_length or self.sequence_length)

    @property
    def corpora(self) -> dict[str, CorpusBlock]:
        """Everything that is preprocessed, by the key of the recipe it stands under."""
        named = (self.evaluation or {}).items()
        return {"data": self, **{f"data.evaluation.{name}": block for name, block in named}}

    @property
    def evaluation_names(self) -> tuple[str, ...]:
        """All sets that are evaluated: what is held out, and the named ones."""
        return ((EVAL,) if self.held_out > 0 else ()) + tuple(self.evaluation or ())
