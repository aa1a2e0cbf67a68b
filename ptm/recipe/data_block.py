"""The recipe's `data` block: corpora, stores, and how rows are built from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from ptm.component import RowLength
from ptm.data.mixture import shares_of
from ptm.data.packing import RowSize
from ptm.limits import MOST_WORKERS
from ptm.recipe.corpus_block import EvaluationBlock, Paths, ReadingBlock, SourceBlock
from ptm.text.corpus import Layout, ReadOptions
from ptm.text.corpus.records import ROLES
from ptm.text.segmenters import AnySegmenter
from ptm.validation import text_of

SetName = Annotated[
    str,
    text_of(
        r"^[A-Za-z0-9][A-Za-z0-9_-]*$",
        "have only a-z, A-Z, 0-9, `_` and `-`, and begin with a letter or a digit",
    ),
]

EVAL = "eval"
"""Name of the evaluation set that is held out from the training store."""
SHARE = "share"
"""First part of the names of the realised shares of sources in reports: `share/news`."""
UNNAMED = ""
"""Name of the source of a corpus that is no mixture of named sources."""

_TAKEN = (EVAL, SHARE, "train", "perf")


def metric_key(evaluation: str, metric: str) -> str:
    """`loss` for the held-out split, `news/loss` for the evaluation set `news`."""
    return metric if evaluation == EVAL else f"{evaluation}/{metric}"


@dataclass(frozen=True)
class StoreInput:
    """A token store that a recipe names and the files that it is made of, with their keys."""

    store: str
    store_key: str
    corpus_patterns: tuple[str, ...]
    """Paths and globs; none for a store that exists already and that `ptm preprocess` leaves."""
    corpus_key: str
    reading: ReadOptions
    """How the files are read."""


@dataclass(frozen=True)
class EvaluationInput:
    """An evaluation set: the held-out split of a source, or (None) the whole of its own store."""

    store: StoreInput
    source: str | None
    during_training: bool = True
    """Whether it is evaluated during training, and not by `ptm evaluate` alone."""


def _as_tuple(corpus: str | tuple[str, ...]) -> tuple[str, ...]:
    return (corpus,) if isinstance(corpus, str) else corpus


def _corpus_kind(corpus: Any) -> str:
    """The tag of the member of `Corpus` that a value is meant as."""
    return "[sources]" if isinstance(corpus, dict) else "[files]"


# The tags occur in no recipe. They make the errors of one member of the union the only ones.
Corpus = Annotated[
    Annotated[str | Paths, Tag("[files]")]
    | Annotated[dict[SetName, SourceBlock], Tag("[sources]")],
    Discriminator(_corpus_kind),
]


class DataBlock(ReadingBlock):
    """Corpora, stores, and how rows are built from them."""

    corpus: Corpus
    """A path, folder, glob or URL (`https://`, `hf://`, `s3://`, `gs://`), or a list of them: plain
    text, JSON lines, CSV, TSV, parquet or Arrow, also compressed as .gz, .bz2, .xz or .zst
    ([corpora.md](corpora.md)). Or a mixture of named sources ([mixtures.md](mixtures.md)):
    `{web: {files: web/*.txt, weight: 0.7}, poems: {files: poems.txt, weight: 0.3}}`."""
    store: str
    """The folder that `ptm preprocess` writes. Training and evaluation read it. With named sources,
    it holds one store for each of them."""
    exhaustion: Literal["repeat", "stop"] | None = None
    """When an epoch of a mixture ends. repeat: once every source has been read to its end, smaller
    ones repeatedly. stop: once the first source is exhausted, so that none is repeated. Default:
    repeat."""
    layout: Layout
    """documents: one document per line. sentences: one sentence per line, an empty line ends a
    document. pairs: `source<TAB>target`. triplets: `anchor<TAB>positive<TAB>negative`, with one or
    more negatives. labelled: `label<TAB>text` or
    `label<TAB>text_a<TAB>text_b`. tagged: sentences of words with one tag each, as
    `word<TAB>tag` lines with an empty line after each sentence, or as `words<TAB>tags` with spaces
    between words and between tags. A header that names these columns is optional. A record of JSON
    lines, CSV, TSV, parquet or Arrow is one document (with sentences, one line of its text is a
    sentence), pair, triplet, labelled text or tagged sentence. questions: paragraphs with questions
    whose answers are spans of them, in SQuAD's JSON; or one question per record of JSON lines,
    parquet or Arrow ([questions.md](questions.md#questions)). choices: questions with several
    choices each, in JSON (C3, RACE), JSON lines, CSV, TSV, parquet or Arrow
    ([questions.md](questions.md#multiple-choice))."""
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.01
    """Share of the distinct documents that is held out for evaluation, chosen by their hash; 0: no
    held-out split."""
    evaluation: dict[SetName, EvaluationBlock] | None = None
    """More corpora to evaluate on, each as a whole, by name:
    `{news: {corpus: news.txt, store: stores/news}}`. `format`, `encoding`, `fields` and `quoting`
    are those of `data` unless set."""
    sequence_length: RowLength
    """Tokens per row, special tokens included."""
    target_sequence_length: RowLength | None = None
    """Tokens per row of the decoder; default: `sequence_length`."""
    packing: bool = True
    """Whether several short examples share a row. Attention keeps them apart. With a decoder,
    sources and targets of a micro-batch are then packed into rows of their own
    ([engines.md](engines.md#pairs))."""
    sentence_splitting: bool = False
    """Whether `ptm preprocess` splits the lines of the layout `documents` into sentences, by
    Chinese and Western rules. `bert`, `albert`, `bart` and `gsg` need it with that layout."""
    segmenter: AnySegmenter | None = None
    """Finds the words of a text. Whole-word masking needs it."""
    workers: Annotated[int, Field(ge=0, le=MOST_WORKERS)] = 0
    """Worker processes of `ptm preprocess`; 0: one per core."""

    @model_validator(mode="after")
    def _check_set_names(self) -> DataBlock:
        for block, names in (("corpus", self.sources), ("evaluation", self.evaluation or {})):
            taken = sorted(set(names) & set(_TAKEN))
            if taken:
                raise ValueError(
                    f'{block}.{taken[0]}: "{taken[0]}" has a fixed meaning in reports. Give '
                    "another name."
                )
        both = sorted(set(self.sources) & set(self.evaluation or ()))
        if both:
            raise ValueError(
                f"corpus.{both[0]}: an evaluation set in data.evaluation has the same name. Give "
                "another name."
            )
        return self

    @model_validator(mode="after")
    def _check_stores(self) -> DataBlock:
        stores: dict[str, str] = {}
        for block, one in self.corpora.items():
            if one.store in stores:
                key = f"{block.removeprefix('data.')}.store"
                raise ValueError(
                    f'{key}: "{one.store}" is also the store of {stores[one.store]}. Set another '
                    "folder."
                )
            stores[one.store] = one.store_key if block == "data" else block
        return self

    @model_validator(mode="after")
    def _check_fields(self) -> DataBlock:
        roles = ROLES[self.layout]
        for path, block in self._reading_blocks.items():
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

    @property
    def _reading_blocks(self) -> dict[str, ReadingBlock]:
        """Every block that says how files are read, by its dotted path."""
        sources = {f"data.corpus.{name}": source for name, source in self.sources.items()}
        sets = {f"data.evaluation.{name}": one for name, one in (self.evaluation or {}).items()}
        return {"data": self, **sources, **sets}

    @property
    def row_size(self) -> RowSize:
        """Tokens per row of the source and of the target."""
        return RowSize(self.sequence_length, self.target_sequence_length or self.sequence_length)

    @property
    def sources(self) -> Mapping[str, SourceBlock]:
        """The named sources of a mixture; empty if `corpus` is a path or a list of them."""
        return self.corpus if isinstance(self.corpus, dict) else {}

    @property
    def shares(self) -> dict[str, float]:
        """The share of each named source in the rows to train on; empty without named sources."""
        if not self.sources:
            return {}
        weights = [source.weight for source in self.sources.values()]
        return dict(zip(self.sources, shares_of(weights), strict=True))

    @property
    def held_out_shares(self) -> dict[str, float]:
        """`shares`, if documents of each source are held out; else empty."""
        return self.shares if self.held_out > 0 else {}

    @property
    def training_inputs(self) -> dict[str, StoreInput]:
        """The store of each source; of `UNNAMED` alone if `corpus` has no named sources."""
        if not isinstance(self.corpus, dict):
            paths, options = _as_tuple(self.corpus), self.options("data")
            return {UNNAMED: StoreInput(self.store, "data.store", paths, "data.corpus", options)}
        found = {}
        for name, source in self.corpus.items():
            block = f"data.corpus.{name}"
            found[name] = StoreInput(
                store=f"{self.store}/{name}" if source.store is None else source.store,
                store_key="data.store" if source.store is None else f"{block}.store",
                corpus_patterns=_as_tuple(source.files or ()),
                corpus_key=f"{block}.files",
                reading=source.options(block, defaults=self),
            )
        return found

    @property
    def evaluation_inputs(self) -> dict[str, EvaluationInput]:
        """Each evaluation set that has rows of its own, by name, as in reports.

        The held-out split of a corpus without named sources is `EVAL`; that of a named source has
        its name.
        """
        found = {}
        if self.held_out > 0:
            for name, one in self.training_inputs.items():
                found[EVAL if name == UNNAMED else name] = EvaluationInput(one, name)
        for name, block in (self.evaluation or {}).items():
            key, paths = f"data.evaluation.{name}", _as_tuple(block.corpus)
            options = block.options(key, defaults=self)
            store = StoreInput(block.store, f"{key}.store", paths, f"{key}.corpus", options)
            found[name] = EvaluationInput(store, None, block.during_training)
        return found

    @property
    def corpora(self) -> dict[str, StoreInput]:
        """Every store of the recipe, by the dotted path of the block that names it."""
        found = {}
        for name, one in self.training_inputs.items():
            found["data" if name == UNNAMED else f"data.corpus.{name}"] = one
        for name, evaluation in self.evaluation_inputs.items():
            if evaluation.source is None:
                found[f"data.evaluation.{name}"] = evaluation.store
        return found

    @property
    def training_evaluation_names(self) -> tuple[str, ...]:
        """Those of `evaluation_names` that are evaluated during training."""
        inputs = self.evaluation_inputs
        return tuple(
            name
            for name in self.evaluation_names
            if name not in inputs or inputs[name].during_training
        )

    @property
    def evaluation_names(self) -> tuple[str, ...]:
        """Names of all evaluation sets in reports.

        The held-out split, those of each named source, and those of `evaluation`. With named
        sources, the held-out split is the mean of the sources' ones, weighted by their shares.
        """
        total = (EVAL,) if self.held_out_shares else ()
        return (*total, *self.evaluation_inputs)
