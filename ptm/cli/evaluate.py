"""`ptm evaluate`: held-out metrics."""

from __future__ import annotations

import argparse
import json

from ptm.cli.arguments import add_json, add_overrides, add_source, add_step
from ptm.errors import EXIT_DONE

NAME = "evaluate"
HELP = "held-out metrics of a run, an export or an import"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own."""
    add_source(parser)
    add_overrides(parser)
    add_step(parser)
    add_json(parser, "as one JSON object")


def run(parsed: argparse.Namespace) -> int:
    """Run it; return the exit code."""
    from ptm.interop.source import open_source
    from ptm.train.evaluating import evaluate_source

    result = evaluate_source(open_source(parsed.source, step=parsed.step), parsed.overrides)
    if parsed.json:
        print(json.dumps(result, ensure_ascii=False))
        return EXIT_DONE
    width = max(14, *map(len, result))
    for key, value in result.items():
        shown = f"{value:.5f}" if isinstance(value, float) else value
        print(f"{key:>{width}}  {shown}")
    return EXIT_DONE
