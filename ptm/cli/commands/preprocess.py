"""`ptm preprocess`: tokenises a corpus into a token store."""

from __future__ import annotations

import argparse
import logging
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from ptm.cli.arguments import add_recipe, recipe_of
from ptm.cli.console import print_done
from ptm.cli.progress import ProgressLine
from ptm.errors import EXIT_DONE

if TYPE_CHECKING:
    from ptm.recipe import Recipe
    from ptm.recipe.corpus_block import CorpusBlock
    from ptm.store.format import StoreInfo

logger = logging.getLogger(__name__)

_MOST_UNKNOWN = 0.01
"""Share of unknown tokens above which a warning is printed."""

NAME = "preprocess"
HELP = "tokenise the corpus into a token store"
ORDER = 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_recipe(parser)
    parser.add_argument("--fresh", action="store_true", help="replace an existing store")


def run(parsed: argparse.Namespace) -> int:
    recipe = recipe_of(parsed)
    for key, block in recipe.data.corpora.items():
        _preprocess(key, block, recipe, fresh=parsed.fresh)
    return EXIT_DONE


def _preprocess(key: str, block: CorpusBlock, recipe: Recipe, *, fresh: bool) -> None:
    """Write the store of one corpus; `key`: its block in the recipe."""
    from ptm.store.preprocess import Preprocessing, preprocess
    from ptm.text.corpus import find_corpus, recognise
    from ptm.text.labels import check_trained_labels

    files = find_corpus(block.corpus_patterns, field=f"{key}.corpus")
    work = Preprocessing(
        corpus=recognise(files, recipe.data.layout, recipe.data.read_options(key)),
        layout=recipe.data.layout,
        tokenizer=recipe.tokenizer,
        segmenter=recipe.data.segmenter,
        sentence_splitting=recipe.data.sentence_splitting,
        target_tokenizer=recipe.target_tokenizer,
        labels=recipe.objective.label_set,
    )

    def check(info: StoreInfo) -> None:
        # Evaluation sets need not have every label.
        if info.labels is not None and block is recipe.data:
            check_trained_labels(info.labels, where=f"{key}.corpus")

    line = ProgressLine()
    info = preprocess(
        work,
        Path(block.store),
        workers=recipe.data.workers or len(os.sched_getaffinity(0)),
        fresh=fresh,
        report=line.show,
        check=check,
    )
    line.end()
    unknown = info.report.get("unknown_tokens", 0)
    if unknown > _MOST_UNKNOWN * info.tokens:
        logger.warning(
            "%s: %.1f %% of the tokens are unknown, which teach a model nothing. %s may be the "
            "vocabulary of another language; `ptm vocab train` makes one from this corpus",
            block.store,
            100 * unknown / info.tokens,
            recipe.tokenizer.source,
        )
    counts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in info.report.items())
    formats = _formats(info)
    what = {"pairs": "pairs", "labelled": "labelled texts"}.get(info.layout, "documents")
    print_done(
        f"{block.store}: {info.documents:,} {what}, {info.tokens:,} tokens in "
        f"{len(info.shards)} shards ({counts})"
    )
    print_done(f"{block.store}: read {formats}")
    if info.labels is not None:
        of_label = ", ".join(f"{name}: {count:,}" for name, count in info.labels.items())
        print_done(f"{block.store}: texts per label: {of_label}")


_FORMAT_NAMES = {"text": "plain text", "json_lines": "JSON lines", "arrow": "Arrow"}


def _formats(info: StoreInfo) -> str:
    """The formats, encodings and fields of the corpus files, with the number of files of each."""
    kinds: Counter[str] = Counter()
    for file in info.corpus:
        # Stores of earlier versions name no format: they are all UTF-8 text.
        name = file.get("format", "text")
        kind = _FORMAT_NAMES.get(name, name.upper() if name in ("csv", "tsv") else name)
        details = [file["encoding"]] if "encoding" in file else []
        details += [f"fields: {', '.join(file['fields'])}"] if "fields" in file else []
        details += [] if file.get("quoting", True) else ["quotes are characters of the texts"]
        kinds[f"{kind} ({'; '.join(details)})" if details else kind] += 1
    return ", ".join(
        f"{count:,} {'file' if count == 1 else 'files'} of {kind}" for kind, count in kinds.items()
    )
