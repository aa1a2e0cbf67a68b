"""`ptm preprocess`: a corpus becomes a token store."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ptm.cli.arguments import add_recipe, recipe_of
from ptm.cli.progress import ProgressLine
from ptm.errors import EXIT_DONE

NAME = "preprocess"
HELP = "turn the corpus into a token store"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own."""
    add_recipe(parser)
    parser.add_argument("--fresh", action="store_true", help="replace an existing store")


def run(parsed: argparse.Namespace) -> int:
    """Run it; return the exit code."""
    from ptm.data.preprocess import Preprocessing, preprocess
    from ptm.text.corpus import find_corpus

    recipe = recipe_of(parsed)
    work = Preprocessing(
        corpus=find_corpus(recipe.data.corpus_patterns),
        layout=recipe.data.layout,
        tokenizer=recipe.tokenizer,
        segmenter=recipe.data.segmenter,
        sentence_splitting=recipe.data.sentence_splitting,
    )
    line = ProgressLine()
    info = preprocess(
        work,
        Path(recipe.data.store),
        workers=recipe.data.workers or len(os.sched_getaffinity(0)),
        fresh=parsed.fresh,
        report=line.show,
    )
    line.end()
    counts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in info.report.items())
    print(
        f"{recipe.data.store}: {info.documents:,} documents, {info.tokens:,} tokens in "
        f"{len(info.shards)} shards ({counts})"
    )
    return EXIT_DONE
