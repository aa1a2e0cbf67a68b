"""`ptm generate`: texts that a model generates."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from ptm.cli.arguments import add_json, add_source, texts_of
from ptm.cli.console import print_result, print_result_block
from ptm.cli.progress import Progress
from ptm.errors import EXIT_DONE, UserError

if TYPE_CHECKING:
    from ptm.inference.generate import GenerationConfig, Generator

NAME = "generate"
HELP = "generate text: the continuation of a text, its translation or its summary"
ORDER = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_source(parser)
    parser.add_argument(
        "text", metavar="TEXT", nargs="*", help="prompts, or source texts of an encoder-decoder"
    )
    parser.add_argument(
        "--file", metavar="FILE", type=Path, help="a file with more texts, one per line"
    )
    parser.add_argument(
        "--length", type=int, default=128, help="maximum number of new tokens (default 128)"
    )
    parser.add_argument(
        "--sample", action="store_true", help="sample instead of taking the most likely token"
    )
    parser.add_argument("--temperature", type=float, help="sampling temperature (default 1)")
    parser.add_argument(
        "--top-k", type=int, metavar="K", help="sample from the K most likely tokens"
    )
    parser.add_argument(
        "--top-p",
        type=float,
        metavar="P",
        help="sample from the smallest set of tokens with this total probability",
    )
    parser.add_argument("--seed", type=int, default=7, help="seed of sampling (default 7)")
    parser.add_argument(
        "--beams", type=int, default=1, help="number of beams (encoder-decoder models only)"
    )
    parser.add_argument(
        "--length-penalty", type=float, help="with --beams: values above 1 favour longer texts"
    )
    add_json(parser, "print one JSON object per text")


def run(parsed: argparse.Namespace) -> int:
    _check_options(parsed)
    with Progress(parsed.source, phase="loading the model"):
        config = _generation_config(parsed)
        texts, _ = texts_of(parsed, action="generate from")
        from ptm.inference.generate import Generator
        from ptm.interop.sources.open import open_source

        generator = Generator(open_source(parsed.source))
    if config.beams > 1 and not generator.has_decoder:
        raise UserError(
            f"--beams {config.beams}: {parsed.source} is not an encoder-decoder model. Beam "
            "search is supported only for encoder-decoder models, because the most likely "
            "continuation of a prompt is seldom a good one. Remove --beams or use --sample."
        )
    if len(texts) == 1 and config.beams == 1 and not parsed.json:
        _stream(generator, texts[0], config)
        return EXIT_DONE
    for text, written in zip(texts, generator.generate(texts, config), strict=True):
        if parsed.json:
            print_result(json.dumps({"text": text, "written": written}, ensure_ascii=False))
        else:
            print_result_block(written if generator.has_decoder else f"{text}{written}")
    return EXIT_DONE


def _stream(generator: Generator, text: str, config: GenerationConfig) -> None:
    """Print each piece of the text as soon as it is generated."""
    if not generator.has_decoder:
        print_result_block(text, end="")
    for piece in generator.stream(text, config):
        print_result_block(piece, end="")
    print_result("")


def _generation_config(parsed: argparse.Namespace) -> GenerationConfig:
    from ptm.inference.decoding import Sampling
    from ptm.inference.generate import GenerationConfig

    sampling = None
    if _samples(parsed):
        temperature = 1.0 if parsed.temperature is None else parsed.temperature
        sampling = Sampling(temperature, parsed.top_k, parsed.top_p)
    return GenerationConfig(
        max_new_tokens=parsed.length,
        sampling=sampling,
        seed=parsed.seed,
        beams=parsed.beams,
        length_penalty=1.0 if parsed.length_penalty is None else parsed.length_penalty,
    )


def _samples(parsed: argparse.Namespace) -> bool:
    """Whether to sample: any sampling option implies --sample."""
    options = (parsed.temperature, parsed.top_k, parsed.top_p)
    return parsed.sample or any(option is not None for option in options)


def _check_options(parsed: argparse.Namespace) -> None:
    at_least_one = {"--length": parsed.length, "--top-k": parsed.top_k, "--beams": parsed.beams}
    for name, number in at_least_one.items():
        if number is not None and number < 1:
            raise UserError(f"{name} {number}: must be at least 1.")
    temperature, share = parsed.temperature, parsed.top_p
    if temperature is not None and not 0 < temperature < float("inf"):
        raise UserError(
            f"--temperature {temperature:g}: must be above 0. To take the most likely token, "
            "remove --sample, --temperature, --top-k and --top-p."
        )
    if share is not None and not 0 < share <= 1:
        raise UserError(f"--top-p {share:g}: must be above 0 and at most 1.")
    if parsed.beams > 1 and _samples(parsed):
        raise UserError(
            "--beams searches for the most likely text and --sample draws one at random. Use "
            "only one of them."
        )
    if parsed.length_penalty is not None and parsed.beams == 1:
        raise UserError(
            "--length-penalty has an effect only with --beams. Add --beams or remove "
            "--length-penalty."
        )
