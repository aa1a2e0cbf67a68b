"""The recipe's `data` block: corpora, stores, and how rows are built from them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from ptm.component import Config, Listed, RowLength
from ptm.data.packing import RowSize
from ptm.limits import MOST_WORKERS
from ptm.text.corpus import Layout
from ptm.text.segmenters import AnySegmenter

Paths = Annotated[tuple[str, ...], Listed]
SetName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]

EVAL = "eval"
"""Name of the evaluation set that is held out from the training store."""
_TAKEN = (EVAL, "train", "perf")


def metric_key(evaluation: str, metric: str) -> str:
    """`loss` for the held-out split, `news/loss` for the evaluation set `news`."""
    return metric if evaluation == EVAL else f"{evaluation}/{metric}"


class CorpusBlock(Config):
    """A corpus and its token store."""

    corpus: str | Paths
    """A path, a glob, or a list of them: plain text, .gz, .xz or .zst."""
    store: str
    """The folder that `ptm preprocess` writes. Training and evaluation read it."""

    @property
    def corpus_patterns(self) -> tuple[str, ...]:
        """`corpus` as a tuple of paths and globs."""
        return (self.corpus,) if isinstance(self.corpus, str) else self.corpus


class DataBlock(CorpusBlock):
    """Corpora, stores, and how rows are built from them."""

    layout: Layout
    """documents: one document per line. sentences: one sentence per line, an empty line ends a
    document. pairs: `source<TAB>target`. labelled: `label<TAB>text` or
    `label<TAB>text_a<TAB>text_b`, with or without a header that names these columns."""
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.01
    """Share of the distinct documents that is held out for evaluation, chosen by their hash; 0: no
    held-out split."""
    evaluation: dict[SetName, CorpusBlock] | None = None
    """More corpora to evaluate on, each as a whole, by name:
    `{news: {corpus: news.txt, store: stores/news}}`."""
    sequence_length: RowLength
    """Tokens per row, special tokens included."""
    target_sequence_length: RowLength | None = None
    """Tokens per row of the decoder; default: `sequence_length`."""
    packing: bool = True
    """Whether several short examples share a row. Attention keeps them apart."""
    sentence_splitting: bool = False
    """Whether `ptm preprocess` splits the lines of the layout `documents` into sentences, by
    Chinese and Western rules. `bert`, `albert`, `bart` and `gsg` need it with that layout."""
    segmenter: AnySegmenter | None = None
    """Finds the words of a text. Whole-word masking needs it."""
    workers: Annotated[int, Field(ge=0, le=MOST_WORKERS)] = 0
    """Worker processes of `ptm preprocess`; 0: one per core."""

    @model_validator(mode="after")
    def _check_set_names(self) -> DataBlock:
        taken = sorted(set(self.evaluation or ()) & set(_TAKEN))
        if taken:
            raise ValueError(
                f'evaluation.{taken[0]}: "{taken[0]}" has a fixed meaning in reports. Give '
                "another name."
            )
        return self

    @model_validator(mode="after")
    def _check_stores(self) -> DataBlock:
        stores = {self.store: "data.store"}
        for name, block in (self.evaluation or {}).items():
            if block.store in stores:
                raise ValueError(
                    f'evaluation.{name}.store: "{block.store}" is also the store of '
                    f"{stores[block.store]}. Set another folder."
                )
            stores[block.store] = f"data.evaluation.{name}"
        return self

    @property
    def row_size(self) -> RowSize:
        """Tokens per row of the source and of the target."""
        return RowSize(self.sequence_length, self.target_sequence_length or self.sequence_length)

    @property
    def corpora(self) -> dict[str, CorpusBlock]:
        """Every corpus that is preprocessed, by the dotted path of its block."""
        named = (self.evaluation or {}).items()
        return {"data": self, **{f"data.evaluation.{name}": block for name, block in named}}

    @property
    def evaluation_names(self) -> tuple[str, ...]:
        """Names of all evaluation sets: the held-out split and those of `evaluation`."""
        return ((EVAL,) if self.held_out > 0 else ()) + tuple(self.evaluation or ())
