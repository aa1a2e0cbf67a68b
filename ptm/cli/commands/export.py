"""`ptm export`: weights that others can load."""

from __future__ import annotations

import argparse
from pathlib import Path

from ptm.cli.arguments import add_step
from ptm.errors import EXIT_DONE, UserError

NAME = "export"
HELP = "write weights that others can load"
ORDER = 70


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own."""
    parser.add_argument("run", metavar="RUN", help="a run, an import or an export")
    parser.add_argument("out", metavar="OUT", type=Path, help="the folder to write")
    parser.add_argument("--to", choices=("hf", "uer"), required=True, help="whose format")
    add_step(parser)
    parser.add_argument(
        "--average",
        metavar="N",
        type=int,
        help="of a run: the mean of its last N checkpoints (up to --step)",
    )
    parser.add_argument("--format", choices=("safetensors", "bin"), help="of hf (safetensors)")


def run(parsed: argparse.Namespace) -> int:
    """Run it; return the exit code."""
    from ptm.interop.hf.io.export import export_to_huggingface
    from ptm.interop.sources.open import open_source
    from ptm.interop.uer.export import export_to_uer

    if parsed.to == "uer" and parsed.format is not None:
        raise UserError(f"--format {parsed.format} is for --to hf; UER-py reads .bin alone.")
    source = open_source(parsed.run, step=parsed.step, average=parsed.average)
    if parsed.to == "hf":
        export_to_huggingface(source, parsed.out, weights_format=parsed.format or "safetensors")
    else:
        export_to_uer(source, parsed.out)
    reader = {"hf": "transformers", "uer": "UER-py and TencentPretrain"}[parsed.to]
    print(f"{parsed.out}: {source.description()} of {parsed.run}, for {reader}")
    return EXIT_DONE
