"""`ptm export`: weights in the format of another library."""

from __future__ import annotations

import argparse
from pathlib import Path

from ptm.cli.arguments import add_quiet, add_step
from ptm.cli.console import print_done
from ptm.cli.progress import Progress
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
    parser.add_argument(
        "--adapter",
        action="store_true",
        help="with --to hf: write only the adapter (LoRA) and the head, for peft; without it, the "
        "adapter is merged into the weights",
    )
    parser.add_argument(
        "--base",
        metavar="MODEL",
        help="with --adapter: the model of transformers that the adapter belongs to (default: the "
        "recipe's init_from)",
    )
    add_step(parser)
    add_quiet(parser)
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
    _check_options(parsed)
    with Progress(parsed.run):
        lines = _export(parsed)
    for line in lines:
        print_done(line)
    return EXIT_DONE


def _check_options(parsed: argparse.Namespace) -> None:
    if parsed.to == "uer" and parsed.format is not None:
        raise UserError(
            f"--format {parsed.format} is an option of --to hf only, because UER-py reads only "
            ".bin files. Remove --format."
        )
    if parsed.adapter and (parsed.to != "hf" or parsed.format is not None):
        raise UserError(
            "--adapter writes a folder for peft, in safetensors. Use it with --to hf and without "
            "--format."
        )
    if parsed.base is not None and not parsed.adapter:
        raise UserError(f"--base {parsed.base} is used only with --adapter. Remove one of them.")
    if parsed.to == "uer" and parsed.without_crf:
        raise UserError("--without-crf is an option of --to hf only. Remove it.")


def _export(parsed: argparse.Namespace) -> list[str]:
    """Write the folder; return the lines about it."""
    from ptm.interop.hf.io.adapter_folder import export_adapter
    from ptm.interop.hf.io.export import export_to_huggingface
    from ptm.interop.published_recipe import path_note
    from ptm.interop.sources.open import open_source
    from ptm.interop.uer.export import export_to_uer

    source = open_source(parsed.run, step=parsed.step, average=parsed.average)
    notes: tuple[str, ...] = ()
    if parsed.adapter:
        base, notes = export_adapter(source, parsed.out, base=parsed.base)
        what = f"the adapter of {parsed.run}, {source.description()}, for peft on {base}"
        if Path(base).exists():
            notes += (f"adapter_config.json names the base model by its path here, {base}.",)
        return [f"{parsed.out}: {what}", *notes, *path_note(source.recipe())]
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
    notes += path_note(source.recipe())
    return [f"{parsed.out}: {source.description()} of {parsed.run}, for {reader}", *notes]
