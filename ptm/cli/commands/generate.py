"""`ptm generate`: texts that a model writes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from ptm.cli.arguments import add_json, add_source, texts_of
from ptm.errors import EXIT_DONE, UserError

if TYPE_CHECKING:
    from ptm.inference.generate import Choice, Generator

NAME = "generate"
HELP = "texts that a model writes: what follows a text, or its translation, summary, repair"
ORDER = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own."""
    add_source(parser)
    parser.add_argument("text", metavar="TEXT", nargs="*", help="texts to go on from, or to turn")
    parser.add_argument("--file", metavar="FILE", type=Path, help="more texts, one a line")
    parser.add_argument("--length", type=int, default=128, help="new tokens at most (default 128)")
    parser.add_argument("--sample", action="store_true", help="draw, instead of the likeliest")
    parser.add_argument(
        "--temperature", type=float, help="sharpens (< 1) or flattens what is drawn"
    )
    parser.add_argument("--top-k", type=int, metavar="K", help="draw from the K likeliest tokens")
    parser.add_argument(
        "--top-p", type=float, metavar="P", help="draw from the fewest that have this share"
    )
    parser.add_argument("--seed", type=int, default=7, help="of what is drawn (default 7)")
    parser.add_argument(
        "--beams", type=int, default=1, help="texts searched side by side (encoder-decoders)"
    )
    parser.add_argument(
        "--length-penalty", type=float, help="above 1 favours longer texts (with --beams)"
    )
    add_json(parser, "as one JSON object a text")


def run(parsed: argparse.Namespace) -> int:
    """Run it; return the exit code."""
    choice = _choice(parsed)
    texts, _ = texts_of(parsed, what="to go on from")
    from ptm.inference.generate import Generator
    from ptm.interop.sources.open import open_source

    generator = Generator(open_source(parsed.source))
    if choice.beams > 1 and not generator.has_decoder:
        raise UserError(
            f"--beams = {choice.beams}: {parsed.source} goes on from a text, where the likeliest "
            "text is seldom a good one; beams are for models with an encoder and a decoder. Leave "
            "it out, or use --sample."
        )
    if len(texts) == 1 and choice.beams == 1 and not parsed.json:
        _stream(generator, texts[0], choice)
        return EXIT_DONE
    for text, written in zip(texts, generator.generate(texts, choice), strict=True):
        if parsed.json:
            print(json.dumps({"text": text, "written": written}, ensure_ascii=False))
        else:
            print(written if generator.has_decoder else f"{text}{written}")
    return EXIT_DONE


def _stream(generator: Generator, text: str, choice: Choice) -> None:
    """Every piece as soon as it is there."""
    if not generator.has_decoder:
        print(text, end="", flush=True)
    for piece in generator.stream(text, choice):
        print(piece, end="", flush=True)
    print()


def _choice(parsed: argparse.Namespace) -> Choice:
    _refuse(parsed)
    from ptm.inference.decoding import Sampling
    from ptm.inference.generate import Choice

    sampling = None
    if _draws(parsed):
        temperature = 1.0 if parsed.temperature is None else parsed.temperature
        sampling = Sampling(temperature, parsed.top_k, parsed.top_p)
    return Choice(
        longest=parsed.length,
        sampling=sampling,
        seed=parsed.seed,
        beams=parsed.beams,
        length_penalty=1.0 if parsed.length_penalty is None else parsed.length_penalty,
    )


def _draws(parsed: argparse.Namespace) -> bool:
    """Whoever says how to draw wants to."""
    options = (parsed.temperature, parsed.top_k, parsed.top_p)
    return parsed.sample or any(option is not None for option in options)


def _refuse(parsed: argparse.Namespace) -> None:
    at_least_one = {"--length": parsed.length, "--top-k": parsed.top_k, "--beams": parsed.beams}
    for name, number in at_least_one.items():
        if number is not None and number < 1:
            raise UserError(f"{name} = {number}: must be at least 1.")
    temperature, share = parsed.temperature, parsed.top_p
    if temperature is not None and not 0 < temperature < float("inf"):
        raise UserError(
            f"--temperature = {temperature:g}: must be above 0; for the likeliest token leave "
            "--sample, --temperature, --top-k and --top-p out."
        )
    if share is not None and not 0 < share <= 1:
        raise UserError(f"--top-p = {share:g}: is a share, above 0 and at most 1.")
    if parsed.beams > 1 and _draws(parsed):
        raise UserError("--beams searches for the likeliest text, --sample draws one: choose one.")
    if parsed.length_penalty is not None and parsed.beams == 1:
        raise UserError("--length-penalty is for --beams: set both, or leave it out.")
