"""`ptm fill`: the most likely tokens at each mask."""

from __future__ import annotations

import argparse
import json

from ptm.cli.arguments import add_json, add_source
from ptm.cli.console import print_result
from ptm.cli.progress import Progress
from ptm.errors import EXIT_DONE, UserError

NAME = "fill"
HELP = "print the most likely tokens at each mask of a text"
ORDER = 90


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_source(parser)
    parser.add_argument("text", metavar="TEXT", nargs="+", help="texts that contain the mask token")
    parser.add_argument("--count", type=int, default=5, help="tokens per mask (default 5)")
    add_json(parser, "print one JSON object per text")


def run(parsed: argparse.Namespace) -> int:
    if parsed.count < 1:
        raise UserError(f"--count {parsed.count}: must be at least 1.")
    with Progress(parsed.source, phase="loading the model"):
        from ptm.inference.fill import Filler
        from ptm.interop.sources.open import open_source

        filler = Filler(open_source(parsed.source))
        filled = filler.fill_all(parsed.text, count=parsed.count)
    for text, masks in zip(parsed.text, filled, strict=True):
        if parsed.json:
            guesses = [[{"token": g.token, "probability": g.probability} for g in m] for m in masks]
            print_result(json.dumps({"text": text, "masks": guesses}, ensure_ascii=False))
            continue
        print_result(text)
        for guesses_of_mask in masks:
            print_result(
                "  " + "  ".join(f"{g.token} {g.probability:.3f}" for g in guesses_of_mask)
            )
    return EXIT_DONE
