"""`ptm import`: others' weights become a source."""

from __future__ import annotations

import argparse
from pathlib import Path

from ptm.errors import EXIT_DONE, UserError

NAME = "import"
HELP = "turn others' weights into something init_from can load"
ORDER = 80

_NAMED = 6
"""Tensors that were left out, by their names; of more only how many."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a folder of theirs, a hub's id (hf), a checkpoint (uer); a JSON with --config-only",
    )
    parser.add_argument("out", metavar="OUT", type=Path, nargs="?", help="the folder to write")
    parser.add_argument(
        "overrides",
        metavar="tokenizer.KEY=VALUE",
        nargs="*",
        help="of uer: e.g. tokenizer.lowercase=false for a vocabulary with capitals",
    )
    parser.add_argument("--from", dest="origin", choices=("hf", "uer"), help="whose format")
    parser.add_argument(
        "--config", metavar="JSON", type=Path, help="of uer (beside the checkpoint if left out)"
    )
    parser.add_argument(
        "--vocab", metavar="FILE", type=Path, help="of uer (beside the checkpoint if left out)"
    )
    parser.add_argument(
        "--config-only",
        action="store_true",
        help="print the model: and objective: of a recipe from their JSON, or write them to OUT",
    )


def run(parsed: argparse.Namespace) -> int:
    """Run it; return the exit code."""
    if parsed.config_only:
        return _config_only(parsed)
    if parsed.origin is None:
        raise UserError("--from is missing: whose format is it, hf or uer?")
    if parsed.out is None:
        raise UserError("OUT is missing: the folder to write.")
    if parsed.origin == "hf" and (parsed.config or parsed.vocab):
        raise UserError("--config and --vocab are for --from uer; a folder of hf has its own.")
    if parsed.origin == "hf" and parsed.overrides:
        raise UserError(f"{parsed.overrides[0]}: a folder of hf says itself what its tokenizer is.")
    from ptm.interop.import_model import import_from_huggingface, import_from_uer
    from ptm.interop.uer.import_model import tokenizer_options

    if parsed.origin == "hf":
        imported = import_from_huggingface(parsed.source, parsed.out)
    else:
        imported = import_from_uer(
            parsed.source,
            parsed.out,
            config=parsed.config,
            vocab=parsed.vocab,
            options=tokenizer_options(parsed.overrides),
        )
    print(f"{parsed.out}: {imported.parameters:,} parameters from {parsed.source}")
    if imported.left_out:
        shown, more = imported.left_out[:_NAMED], len(imported.left_out) - _NAMED
        rest = f" and {more} more" if more > 0 else ""
        print(f"left out, as there is no place for it here: {', '.join(shown)}{rest}")
    return EXIT_DONE


def _config_only(parsed: argparse.Namespace) -> int:
    from ptm.interop.folders import refuse_existing
    from ptm.interop.import_config import recipe_blocks

    if parsed.out is not None:
        refuse_existing(parsed.out)
    text = recipe_blocks(Path(parsed.source))
    if parsed.out is None:
        print(text, end="")
    else:
        parsed.out.write_text(text, encoding="utf-8")
        print(f"{parsed.out}: the model and objective of {parsed.source}")
    return EXIT_DONE
