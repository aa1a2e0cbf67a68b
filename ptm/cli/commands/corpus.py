"""`ptm corpus`: a report on a token store, or on every store of a recipe."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from ptm.cli.arguments import add_json, add_overrides, recipe_of
from ptm.cli.console import print_done, print_result, print_sentence
from ptm.cli.progress import Progress
from ptm.errors import EXIT_DONE, UserError

if TYPE_CHECKING:
    from ptm.runs.corpus.report import CorpusReport

logger = logging.getLogger(__name__)

NAME = "corpus"
HELP = "report on a corpus: counts, lengths, unknown tokens, duplicates"
ORDER = 35


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "recipe",
        metavar="STORE|RECIPE",
        help="a token store, the folder of a mixture's stores, or a recipe, of which all stores "
        "are reported",
    )
    add_overrides(parser)
    parser.add_argument("--html", metavar="FILE", type=Path, help="also write the report as a page")
    add_json(parser, "print one JSON object")


def run(parsed: argparse.Namespace) -> int:
    from ptm.files.writing import write_file
    from ptm.runs.corpus.lines import report_lines

    page: Path | None = parsed.html
    if page is not None and (page.is_dir() or not page.parent.is_dir()):
        what = "is a folder" if page.is_dir() else f'is in no folder: "{page.parent}" is missing'
        raise UserError(f'--html: "{page}" {what}. Give the path of a file.')
    with Progress(parsed.recipe, phase="counting"):
        report = _report(parsed)
    if page is not None:
        from ptm.runs.corpus.page import page_of

        write_file(page, page_of(report))
    for store in report.stores:
        for sentence in store.findings:
            logger.warning("%s: %s", store.folder, sentence)
    if parsed.json:
        from ptm.runs.corpus.as_json import as_json

        print_result(json.dumps(as_json(report), ensure_ascii=False))
        return EXIT_DONE
    for line in report_lines(report):
        print_sentence(line)
    if page is not None:
        print_done(str(page))
    return EXIT_DONE


def _report(parsed: argparse.Namespace) -> CorpusReport:
    from ptm.runs.corpus.report import report_recipe, report_stores

    path = Path(parsed.recipe)
    if not path.is_dir():
        if not path.exists():
            raise UserError(f'"{path}" does not exist. Give a token store or a recipe.')
        return report_recipe(recipe_of(parsed))
    if parsed.overrides:
        raise UserError(
            f"{parsed.overrides[0]}: a store has no keys. Give a recipe with KEY=VALUE, or the "
            "store alone."
        )
    return report_stores(path)
