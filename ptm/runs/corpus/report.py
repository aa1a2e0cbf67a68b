"""The report on a token store, or on every store of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ptm.errors import UserError
from ptm.loading.rows import PackedDataset
from ptm.loading.splits import open_evaluation_rows, open_training_rows
from ptm.loading.stores import preprocessing_of
from ptm.recipe import Recipe
from ptm.recipe.data_block import EVAL, StoreInput
from ptm.recipe.input_files import OF_TRAINING, check_files
from ptm.runs.corpus.counts import CUTTING_LAYOUTS, Repeated, StoreCounts, count_store
from ptm.runs.corpus.findings import findings_of, tag_findings
from ptm.runs.corpus.lengths import RowFill
from ptm.runs.corpus.unknown_strings import UnknownStrings, sample_unknown_strings
from ptm.runs.show_batch import decoded_rows
from ptm.store.format import MANIFEST
from ptm.store.reader import TokenStore
from ptm.text.tokenizers import Tokenizer

_WORDS_SHOWN = 40
"""Tokens of a repeated document that are decoded."""
_ROW_CHARACTERS = 2000


@dataclass(frozen=True)
class ExampleCounts:
    """The examples of one epoch that the objective makes of a store, or of its held-out part."""

    split: str
    """`train`, `eval`, or the name of an evaluation set."""
    examples: int
    tokens: int
    """Upper bound, special tokens included."""
    rows: int
    fill: float
    """Share of the cells of all rows that hold tokens."""
    left_out: Mapping[str, int]
    changes: bool
    """Whether every epoch has other examples; these are the first epoch's."""


@dataclass(frozen=True)
class StoreReport:
    """The report on one store."""

    name: str
    """Its place in the recipe, such as `data` or `data.corpus.poems`; the folder without one."""
    folder: str
    layout: str
    files: int
    """Number of corpus files."""
    labels: Mapping[str, int] | None
    counts: StoreCounts
    fills: tuple[RowFill, ...]
    own_length: int | None
    """`data.sequence_length`."""
    findings: tuple[str, ...]
    unknown_strings: UnknownStrings | None
    no_unknown_strings: str
    """Why the strings were not searched for; "" if they were."""
    repeated: tuple[tuple[Repeated, str], ...]
    """The most repeated documents with the start of their text; "" without a vocabulary."""
    examples: tuple[ExampleCounts, ...] = ()
    sample: tuple[str, ...] = ()
    """The first rows, decoded."""

    @property
    def continues(self) -> bool:
        """Whether long documents continue in further rows; they are cut otherwise."""
        return self.layout not in CUTTING_LAYOUTS


@dataclass(frozen=True)
class CorpusReport:
    """The report on a store, on the stores in a folder, or on every store of a recipe."""

    title: str
    stores: tuple[StoreReport, ...]
    objective: str | None = None
    rows_per_epoch: int | None = None
    """Rows of the first epoch of training, of all sources of a mixture."""


def report_stores(folder: Path) -> CorpusReport:
    """Report on a token store, or on those of a mixture.

    Raises UserError if `folder` is neither.
    """
    stores = sorted(manifest.parent for manifest in folder.glob(f"*/{MANIFEST}"))
    if (folder / MANIFEST).exists():
        stores = [folder]
    if not stores:
        raise UserError(
            f"{folder}: the folder has no {MANIFEST}, so it is not a token store. Give a store of "
            "`ptm preprocess`, or a recipe."
        )
    opened = [TokenStore.open(one, key="store") for one in stores]
    return CorpusReport(title=str(folder), stores=tuple(map(_report_store, opened)))


def _report_store(store: TokenStore) -> StoreReport:
    counts = count_store(store)
    return StoreReport(
        name=str(store.folder),
        **_common(store, counts),
        fills=tuple(counts.lengths.row_fills(continues=_continues(store), own=None)),
        own_length=None,
        findings=(
            *findings_of(store, counts.unknown_tokens, recipe=None),
            *tag_findings(store.info),
        ),
        unknown_strings=None,
        no_unknown_strings="they are not in the store. Give the recipe to read the corpus again.",
        repeated=tuple((one, "") for one in counts.duplicates.most_repeated),
    )


def _common(store: TokenStore, counts: StoreCounts) -> dict[str, Any]:
    info = store.info
    return {
        "folder": str(store.folder),
        "layout": info.layout,
        "files": len(info.corpus),
        "labels": info.labels,
        "counts": counts,
    }


def _continues(store: TokenStore) -> bool:
    return store.info.layout not in CUTTING_LAYOUTS


def report_recipe(recipe: Recipe) -> CorpusReport:
    """Report on every store of a recipe, with the examples that its objective makes of them.

    Raises UserError if a store is missing or was not made for this recipe.
    """
    check_files(recipe, OF_TRAINING)
    tokenizer = recipe.tokenizer.load()
    train = open_training_rows(recipe, tokenizer)
    evaluation = open_evaluation_rows(recipe, tokenizer)
    rows_of: dict[str, dict[str, PackedDataset]] = {}
    for name, rows in train.sources.items():
        rows_of.setdefault(recipe.data.training_inputs[name].store, {})["train"] = rows
    for name, one in recipe.data.evaluation_inputs.items():
        split = name if one.source is None else EVAL
        rows_of.setdefault(one.store.store, {})[split] = evaluation[name]
    stores = [
        _report_input(recipe, tokenizer, name, one, rows_of[one.store])
        for name, one in recipe.data.corpora.items()
    ]
    return CorpusReport(
        title=recipe.name,
        stores=tuple(stores),
        objective=recipe.objective.type,
        rows_per_epoch=len(train),
    )


def _report_input(
    recipe: Recipe,
    tokenizer: Tokenizer,
    name: str,
    one: StoreInput,
    rows: Mapping[str, PackedDataset],
) -> StoreReport:
    """Report on one store of a recipe; `rows`: those of its splits."""
    store = next(iter(rows.values())).store
    vocabulary = tokenizer.vocabulary
    unknown_id = vocabulary.special_id("unk") if vocabulary.has("unk") else None
    counts = count_store(store, unknown_id=unknown_id)
    length = recipe.data.sequence_length
    strings, reason = None, "no token is unknown."
    if counts.unknown_tokens != 0:
        strings, reason = _unknown_strings(recipe, one)
    return StoreReport(
        name=name,
        **_common(store, counts),
        fills=tuple(counts.lengths.row_fills(continues=_continues(store), own=length)),
        own_length=length,
        findings=(
            *findings_of(store, counts.unknown_tokens, recipe=recipe),
            *tag_findings(store.info),
        ),
        unknown_strings=strings,
        no_unknown_strings=reason,
        repeated=tuple(
            (found, _text_of(found, store, tokenizer)) for found in counts.duplicates.most_repeated
        ),
        examples=tuple(_examples(split, one) for split, one in rows.items()),
        sample=tuple(
            line.strip()[:_ROW_CHARACTERS] for line in decoded_rows(next(iter(rows.values())))
        ),
    )


def _unknown_strings(recipe: Recipe, one: StoreInput) -> tuple[UnknownStrings | None, str]:
    """The strings of unknown tokens, or None and the reason why the text cannot be read."""
    if not one.corpus_patterns:
        return None, "the recipe does not name the files of this store."
    try:
        work = preprocessing_of(recipe, one)
    except UserError as error:
        # A store is often copied to another machine without its corpus.
        return None, str(error)
    return sample_unknown_strings(work), ""


def _text_of(found: Repeated, store: TokenStore, tokenizer: Tokenizer) -> str:
    """The start of a document as text."""
    if store.info.target_tokenizer:
        return ""
    length = min(found.length, _WORDS_SHOWN)
    ids = store.tokens(np.array([found.start]), np.array([length])).tolist()
    text = tokenizer.config.decode_ordinary([tokenizer.vocabulary.tokens[one] for one in ids])
    return text + (" …" if length < found.length else "")


def _examples(split: str, rows: PackedDataset) -> ExampleCounts:
    return ExampleCounts(
        split=split,
        examples=int(rows.lengths.size),
        tokens=int(rows.lengths.sum()),
        rows=len(rows),
        fill=rows.fill,
        left_out=dict(rows.indexes.at(0).examples.left_out),
        changes=rows.indexes.change,
    )
