"""`ptm evaluate`: metrics of a model on held-out data."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from ptm.cli.arguments import add_json, add_overrides, add_quiet, add_source, add_step
from ptm.cli.console import print_result
from ptm.cli.progress import Progress
from ptm.errors import EXIT_DONE, UserError

if TYPE_CHECKING:
    from ptm.inference.generate import GenerationConfig

NAME = "evaluate"
HELP = "compute the held-out metrics of a run, an export or an import"
ORDER = 60

_LONGEST = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_source(parser)
    add_overrides(parser)
    add_step(parser)
    add_quiet(parser)
    parser.add_argument(
        "--write",
        type=int,
        nargs="?",
        const=0,
        metavar="N",
        help="generate the targets of N held-out pairs (default all) and compute BLEU and ROUGE",
    )
    parser.add_argument("--beams", type=int, help="with --write: number of beams")
    parser.add_argument(
        "--length", type=int, help="with --write: maximum number of new tokens (default 256)"
    )
    add_json(parser, "print one JSON object")


def run(parsed: argparse.Namespace) -> int:
    with Progress(parsed.source, phase="loading the model"):
        result = _measured(parsed)
    if parsed.json:
        from ptm.train.metrics import finite

        print_result(json.dumps(finite(result), ensure_ascii=False, allow_nan=False))
        return EXIT_DONE
    width = max(14, *map(len, result))
    for key, value in result.items():
        shown = f"{value:.5f}" if isinstance(value, float) else value
        shown = "not measured" if value is None else shown
        print_result(f"{key:>{width}}  {shown}")
    return EXIT_DONE


def _measured(parsed: argparse.Namespace) -> dict[str, Any]:
    from ptm.interop.sources.open import open_source
    from ptm.runs.evaluate import evaluate_source

    config = _generation_config(parsed)
    source = open_source(parsed.source, step=parsed.step)
    result = evaluate_source(source, parsed.overrides)
    if config is not None:
        from ptm.runs.scoring import generation_scores

        result |= generation_scores(source, parsed.overrides, config, count=parsed.write or None)
    return result


def _generation_config(parsed: argparse.Namespace) -> GenerationConfig | None:
    """The generation options of --write, None without it."""
    from ptm.inference.generate import GenerationConfig

    options = {"--write": parsed.write, "--beams": parsed.beams, "--length": parsed.length}
    for name, number in options.items():
        if number is not None and number < 1 and not (name == "--write" and number == 0):
            raise UserError(f"{name} {number}: must be at least 1.")
    if parsed.write is None:
        given = [name for name, number in options.items() if number is not None]
        if given:
            raise UserError(
                f"{given[0]} has an effect only with --write. Add --write or remove {given[0]}."
            )
        return None
    return GenerationConfig(max_new_tokens=parsed.length or _LONGEST, beams=parsed.beams or 1)
