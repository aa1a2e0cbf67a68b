"""`ptm preprocess`: tokenises a corpus into a token store."""

from __future__ import annotations

import argparse
import logging
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from ptm.cli.arguments import add_quiet, add_recipe, recipe_of
from ptm.cli.console import print_done, print_note
from ptm.cli.progress import Progress
from ptm.cli.signals import exit_on_signals
from ptm.counted import counted, singular
from ptm.errors import EXIT_DONE, UserError

if TYPE_CHECKING:
    from ptm.recipe import Recipe
    from ptm.recipe.data_block import StoreInput
    from ptm.store.format import StoreInfo

logger = logging.getLogger(__name__)

NAME = "preprocess"
HELP = "tokenise the corpus into a token store"
ORDER = 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_recipe(parser)
    add_quiet(parser)
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="replace existing stores; of a mixture, those of changed sources",
    )


def run(parsed: argparse.Namespace) -> int:
    # Nothing here multiplies matrices. With numpy's threads, workers could not be forked.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    recipe = recipe_of(parsed)
    if recipe.data.sources:
        _check_folder_of_sources(recipe)
        _check_existing_stores(recipe)
    try:
        with exit_on_signals():
            for one in recipe.data.corpora.values():
                if one.corpus_patterns:
                    _preprocess(one, recipe, fresh=parsed.fresh)
    except (KeyboardInterrupt, SystemExit):
        print_note("ptm: finished shards are kept; the same command continues")
        raise
    return EXIT_DONE


def _check_folder_of_sources(recipe: Recipe) -> None:
    """Raise UserError if the folder of the sources' stores is a store itself."""
    from ptm.store.format import MANIFEST

    if (Path(recipe.data.store) / MANIFEST).exists():
        raise UserError(
            f'data.store: "{recipe.data.store}" is the store of one corpus, but data.corpus has '
            "named sources, which have one store each in this folder. Set another folder."
        )


def _check_existing_stores(recipe: Recipe) -> None:
    """Raise UserError if a source without files has no store, or one of another recipe."""
    from ptm.loading.stores import open_store

    for name, one in recipe.data.training_inputs.items():
        if one.corpus_patterns:
            continue
        if not Path(one.store).exists():
            raise UserError(
                f'{one.store_key}: "{one.store}" does not exist, and the source {name} has no '
                f"`files` to make it from. Make it first, with `ptm preprocess RECIPE "
                f"data.corpus=FILES data.store={one.store}`, or set {one.corpus_key}."
            )
        open_store(recipe, recipe.tokenizer.load(), source=name)


def _preprocess(one: StoreInput, recipe: Recipe, *, fresh: bool) -> None:
    """Write one store of a recipe."""
    from ptm.loading.stores import preprocessing_of
    from ptm.runs.corpus.findings import findings_of
    from ptm.runs.corpus.lines import NOUNS, summary_lines
    from ptm.store.preprocess import is_current, preprocess
    from ptm.store.reader import TokenStore
    from ptm.text.labels import (
        check_trained_labels,
        check_trained_multi_labels,
        check_trained_tags,
    )

    work = preprocessing_of(recipe, one)

    # Of a mixture, only the stores of sources that have changed are replaced.
    is_source = bool(recipe.data.sources) and one in recipe.data.training_inputs.values()

    def check(info: StoreInfo) -> None:
        obstacle = recipe.objective.store_obstacle(info.report)
        if obstacle is not None:
            raise UserError(f"{one.corpus_key}: {obstacle}")
        # Evaluation sets and sources of a mixture need not have every label.
        if info.labels is not None and one.corpus_key == "data.corpus":
            check_labels = check_trained_tags if info.tag_scheme else check_trained_labels
            if info.label_separator is not None:
                check_labels = check_trained_multi_labels
            check_labels(info.labels, where=one.corpus_key)

    with Progress(one.store, forks=True) as progress:
        info = preprocess(
            work,
            Path(one.store),
            workers=recipe.data.workers or len(os.sched_getaffinity(0)),
            fresh=fresh and not (is_source and is_current(work, Path(one.store))),
            report=progress.show,
            check=check,
        )
    counts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in info.report.items())
    formats = _formats(info)
    what = NOUNS.get(info.layout, "documents")
    print_done(
        f"{one.store}: {counted(info.documents, singular(what), what)}, "
        f"{counted(info.tokens, 'token')} in {counted(len(info.shards), 'shard')} ({counts})"
    )
    print_done(f"{one.store}: read {formats}")
    if info.labels is not None:
        of_label = ", ".join(f"{name}: {count:,}" for name, count in info.labels.items())
        per_what = "words per tag" if info.tag_scheme else "texts per label"
        print_done(f"{one.store}: {per_what}: {of_label}")
    store = TokenStore.open(one.store, key=one.store_key)
    for text in summary_lines(store):
        print_done(f"{one.store}: {text}")
    for sentence in findings_of(store, info.report.get("unknown_tokens"), recipe=recipe):
        logger.warning("%s: %s", one.store, sentence)


_FORMAT_NAMES = {
    "text": "plain text",
    "json_lines": "JSON lines",
    "csv": "CSV",
    "csv_semicolon": "CSV with semicolons",
    "tsv": "TSV",
    "arrow": "Arrow",
    "conll": "CoNLL",
    "squad": "SQuAD's JSON",
    "choices": "JSON",
}


def _formats(info: StoreInfo) -> str:
    """The formats, encodings and fields of the corpus files, with the number of files of each."""
    kinds: Counter[str] = Counter()
    for file in info.corpus:
        # Stores of earlier versions name no format: they are all UTF-8 text.
        name = file.get("format", "text")
        kind = _FORMAT_NAMES.get(name, name)
        details = [file["encoding"]] if "encoding" in file else []
        details += [f"fields: {', '.join(file['fields'])}"] if "fields" in file else []
        details += ["no header"] if "columns" in file else []
        details += [] if file.get("quoting", True) else ["quotes are characters of the texts"]
        kinds[f"{kind} ({'; '.join(details)})" if details else kind] += 1
    return ", ".join(
        f"{count:,} {'file' if count == 1 else 'files'} of {kind}" for kind, count in kinds.items()
    )
