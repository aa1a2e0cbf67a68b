"""`ptm import`: weights of other libraries, converted."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ptm.cli.arguments import add_quiet
from ptm.cli.console import print_done, print_result_block
from ptm.cli.progress import Progress
from ptm.errors import EXIT_DONE, UserError

if TYPE_CHECKING:
    from ptm.interop.import_model import Imported

NAME = "import"
HELP = "convert a model of transformers, UER-py or TensorFlow 1 for init_from and other commands"
ORDER = 80

_NAMED = 6
"""Unused tensors printed by name; the rest is only counted."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a transformers folder or Hub id (hf), a checkpoint (uer), a checkpoint's folder or "
        "prefix (tf), a config (--config-only)",
    )
    parser.add_argument("out", metavar="OUT", type=Path, nargs="?", help="the folder to write")
    parser.add_argument(
        "overrides",
        metavar="KEY=VALUE",
        nargs="*",
        help="with --from uer and tf, what a checkpoint does not record: tokenizer options, e.g. "
        "tokenizer.lowercase=false; of a classifier of UER-py objective.labels and "
        "objective.pooling, of a translation model of UER-py target_tokenizer.vocab",
    )
    add_quiet(parser)
    parser.add_argument(
        "--from",
        dest="origin",
        choices=("hf", "uer", "tf"),
        help="format of SOURCE: transformers, UER-py and TencentPretrain, or Google's TensorFlow 1 "
        "checkpoints of BERT and ALBERT",
    )
    parser.add_argument(
        "--config",
        metavar="JSON",
        type=Path,
        help="with uer and tf: default beside the checkpoint",
    )
    parser.add_argument(
        "--vocab", metavar="FILE", type=Path, help="with uer and tf: default beside the checkpoint"
    )
    parser.add_argument(
        "--config-only",
        action="store_true",
        help="convert only a JSON config: print the recipe's `model` and `objective`, or write OUT",
    )


def run(parsed: argparse.Namespace) -> int:
    if parsed.config_only:
        return _config_only(parsed)
    if parsed.origin is None:
        raise UserError(
            "--from is missing. Give the format of SOURCE: --from hf, --from uer or --from tf."
        )
    if parsed.out is None:
        raise UserError("OUT is missing. Give the folder to write.")
    if parsed.origin == "hf" and (parsed.config or parsed.vocab):
        raise UserError(
            "--config and --vocab are options of --from uer and --from tf only, because a "
            "transformers folder contains both files. Remove them."
        )
    if parsed.origin == "hf" and parsed.overrides:
        raise UserError(
            f"{parsed.overrides[0]}: is not supported with --from hf, which reads the tokenizer "
            "options from the transformers folder. Remove it, and change the option in that "
            "folder's tokenizer_config.json (tokenizer.lowercase is do_lower_case there)."
        )
    with Progress(parsed.source):
        imported = _imported(parsed)
    print_done(f"{parsed.out}: {imported.parameters:,} parameters from {parsed.source}")
    for note in imported.notes:
        print_done(note)
    if imported.left_out:
        shown, more = imported.left_out[:_NAMED], len(imported.left_out) - _NAMED
        rest = f" and {more} more" if more > 0 else ""
        print_done(
            "tensors that were not imported, because this model has no equivalent: "
            f"{', '.join(shown)}{rest}"
        )
    return EXIT_DONE


def _imported(parsed: argparse.Namespace) -> Imported:
    from ptm.interop.import_model import (
        import_from_huggingface,
        import_from_tensorflow,
        import_from_uer,
    )
    from ptm.interop.uer.vocabularies import import_options

    if parsed.origin == "hf":
        return import_from_huggingface(parsed.source, parsed.out)
    convert = import_from_uer if parsed.origin == "uer" else import_from_tensorflow
    return convert(
        parsed.source,
        parsed.out,
        config=parsed.config,
        vocab=parsed.vocab,
        options=import_options(parsed.overrides),
    )


def _config_only(parsed: argparse.Namespace) -> int:
    from ptm.interop.folders import check_absent
    from ptm.interop.import_config import recipe_blocks

    if parsed.out is not None:
        check_absent(parsed.out)
    text = recipe_blocks(Path(parsed.source))
    if parsed.out is None:
        print_result_block(text, end="")
    else:
        parsed.out.write_text(text, encoding="utf-8")
        print_done(f"{parsed.out}: the model and objective of {parsed.source}")
    return EXIT_DONE
