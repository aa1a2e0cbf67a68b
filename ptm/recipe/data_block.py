"""The recipe's `data` block: corpora, stores, and how rows are built from them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from ptm.component import RowLength
from ptm.data.packing import RowSize
from ptm.limits import MOST_WORKERS
from ptm.recipe.corpus_block import CorpusBlock
from ptm.text.corpus import Layout, ReadOptions
from ptm.text.corpus.records import ROLES
from ptm.text.segmenters import AnySegmenter

SetName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]

EVAL = "eval"
"""Name of the evaluation set that is held out from the training store."""
_TAKEN = (EVAL, "train", "perf")


def metric_key(evaluation: str, metric: str) -> str:
    """`loss` for the held-out split, `news/loss` for the evaluation set `news`."""
    return metric if evaluation == EVAL else f"{evaluation}/{metric}"


class DataBlock(CorpusBlock):
    """Corpora, stores, and how rows are built from them."""

    layout: Layout
    """documents: one document per line. sentences: one sentence per line, an empty line ends a
    document. pairs: `source<TAB>target`. labelled: `label<TAB>text` or
    `label<TAB>text_a<TAB>text_b`. A header that names these columns is optional. A record of JSON
    lines, CSV, TSV, parquet or Arrow is one document (with sentences, one line of its text is a
    sentence), pair or labelled text."""
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.01
    """Share of the distinct documents that is held out for evaluation, chosen by their hash; 0: no
    held-out split."""
    evaluation: dict[SetName, CorpusBlock] | None = None
    """More corpora to evaluate on, each as a whole, by name:
    `{news: {corpus: news.txt, store: stores/news}}`. `format`, `encoding`, `fields` and `quoting`
    are those of `data` unless set."""
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

    @model_validator(mode="after")
    def _check_fields(self) -> DataBlock:
        roles = ROLES[self.layout]
        for path, block in self.corpora.items():
            unused = [role for role in block.field_names if role not in roles]
            if not unused:
                continue
            key = (
                "text_field" if unused[0] == "text" and block.text_field else "fields." + unused[0]
            )
            key = f"{path.removeprefix('data').removeprefix('.')}.{key}".removeprefix(".")
            raise ValueError(
                f"{key}: data.layout = {self.layout} has no {unused[0]}. Its fields: "
                f"{', '.join(roles)}. Remove the key, or set another layout."
            )
        return self

    def read_options(self, name: str) -> ReadOptions:
        """How the files of the corpus `name` of `corpora` are read."""
        return self.corpora[name].options(name, defaults=self)

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
