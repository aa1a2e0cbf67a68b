"""`ptm evaluate`: held-out metrics."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING

from ptm.cli.arguments import add_json, add_overrides, add_source, add_step
from ptm.errors import EXIT_DONE, UserError

if TYPE_CHECKING:
    from ptm.inference.generate import Choice

NAME = "evaluate"
HELP = "held-out metrics of a run, an export or an import"
ORDER = 60

_LONGEST = 256
_SECONDS = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own."""
    add_source(parser)
    add_overrides(parser)
    add_step(parser)
    parser.add_argument(
        "--write",
        type=int,
        nargs="?",
        const=0,
        metavar="N",
        help="write the targets of N held-out pairs (all if N is left out): BLEU and ROUGE",
    )
    parser.add_argument("--beams", type=int, help="with --write: texts searched side by side")
    parser.add_argument("--length", type=int, help="with --write: new tokens at most (default 256)")
    add_json(parser, "as one JSON object")


def run(parsed: argparse.Namespace) -> int:
    """Run it; return the exit code."""
    from ptm.interop.sources.open import open_source
    from ptm.runs.evaluate import evaluate_source

    choice = _choice(parsed)
    source = open_source(parsed.source, step=parsed.step)
    result = evaluate_source(source, parsed.overrides)
    if choice is not None:
        from ptm.runs.scoring import written_scores

        result |= written_scores(
            source,
            parsed.overrides,
            choice,
            count=parsed.write or None,
            report=_Written() if not parsed.json else lambda done: None,
        )
    if parsed.json:
        print(json.dumps(result, ensure_ascii=False))
        return EXIT_DONE
    width = max(14, *map(len, result))
    for key, value in result.items():
        shown = f"{value:.5f}" if isinstance(value, float) else value
        print(f"{key:>{width}}  {shown}")
    return EXIT_DONE


def _choice(parsed: argparse.Namespace) -> Choice | None:
    """How texts are written; None where they are not."""
    from ptm.inference.generate import Choice

    options = {"--write": parsed.write, "--beams": parsed.beams, "--length": parsed.length}
    for name, number in options.items():
        if number is not None and number < 1 and not (name == "--write" and number == 0):
            raise UserError(f"{name} = {number}: must be at least 1.")
    if parsed.write is None:
        given = [name for name, number in options.items() if number is not None]
        if given:
            raise UserError(f"{given[0]} is for --write, which writes texts: set both.")
        return None
    return Choice(longest=parsed.length or _LONGEST, beams=parsed.beams or 1)


class _Written:
    """Says every few seconds how many texts are written."""

    def __init__(self) -> None:
        self._began = self._said = time.monotonic()

    def __call__(self, done: int) -> None:
        """`done` so far."""
        now = time.monotonic()
        if now - self._said >= _SECONDS:
            self._said = now
            rate = done / (now - self._began)
            print(f"{done:,} texts written · {rate:.1f} a second", file=sys.stderr, flush=True)
