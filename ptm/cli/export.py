"""`ptm export`: weights that others can load."""

from __future__ import annotations

import argparse
from pathlib import Path

from ptm.errors import EXIT_DONE

NAME = "export"
HELP = "write weights that others can load"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own."""
    parser.add_argument("run", metavar="RUN", help="a run, an import or an export")
    parser.add_argument("out", metavar="OUT", type=Path, help="the folder to write")
    parser.add_argument("--to", choices=("hf",), required=True, help="whose format")
    parser.add_argument(
        "--step", type=_step, help="of a run: a checkpoint's step, or best (newest if left out)"
    )
    parser.add_argument("--format", choices=("safetensors", "bin"), default="safetensors")


def run(parsed: argparse.Namespace) -> int:
    """Run it; return the exit code."""
    from ptm.interop.hf.export import export_to_huggingface
    from ptm.interop.source import open_source

    source = open_source(parsed.run, step=parsed.step)
    export_to_huggingface(source, parsed.out, weights_format=parsed.format)
    print(f"{parsed.out}: {source.description()} of {parsed.run}, for transformers")
    return EXIT_DONE


def _step(text: str) -> int | str:
    return text if text == "best" else int(text)
