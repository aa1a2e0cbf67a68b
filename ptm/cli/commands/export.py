"""`ptm export`: weights in the format of another library."""

from __future__ import annotations

import argparse
from pathlib import Path

from ptm.cli.arguments import add_step
from ptm.cli.console import print_done
from ptm.errors import EXIT_DONE, UserError

NAME = "export"
HELP = "write a model for transformers, or for UER-py and TencentPretrain"
ORDER = 70


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run, an export or an import")
    parser.add_argument("out", metavar="OUT", type=Path, help="the folder to write")
    parser.add_argument(
        "--to",
        choices=("hf", "uer"),
        required=True,
        help="format: Hugging Face transformers, or UER-py and TencentPretrain",
    )
    add_step(parser)
    parser.add_argument(
        "--without-crf",
        action="store_true",
        help="with --to hf: leave out the conditional random field of a model that tags words",
    )
    parser.add_argument(
        "--average",
        metavar="N",
        type=int,
        help="of a run: average the weights of its last N checkpoints (up to --step)",
    )
    parser.add_argument(
        "--format",
        choices=("safetensors", "bin"),
        help="with --to hf: format of the weights (default safetensors)",
    )


def run(parsed: argparse.Namespace) -> int:
    from ptm.interop.hf.io.export import export_to_huggingface
    from ptm.interop.sources.open import open_source
    from ptm.interop.uer.export import export_to_uer

    if parsed.to == "uer" and parsed.format is not None:
        raise UserError(
            f"--format {parsed.format} is an option of --to hf only, because UER-py reads only "
            ".bin files. Remove --format."
        )
    if parsed.to == "uer" and parsed.without_crf:
        raise UserError("--without-crf is an option of --to hf only. Remove it.")
    source = open_source(parsed.run, step=parsed.step, average=parsed.average)
    notes: tuple[str, ...] = ()
    if parsed.to == "hf":
        notes = export_to_huggingface(
            source,
            parsed.out,
            weights_format=parsed.format or "safetensors",
            without_crf=parsed.without_crf,
        )
    else:
        notes = export_to_uer(source, parsed.out)
    reader = {"hf": "transformers", "uer": "UER-py and TencentPretrain"}[parsed.to]
    print_done(f"{parsed.out}: {source.description()} of {parsed.run}, for {reader}")
    for note in notes:
        print_done(note)
    return EXIT_DONE
