"""`ptm predict`: the answers of a fine-tuned model for the texts of files."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ptm.cli.arguments import add_source, add_step
from ptm.cli.console import print_error, print_result_block
from ptm.cli.progress import ProgressLine
from ptm.cli.signals import exit_on_signals
from ptm.errors import EXIT_DONE, UserError

if TYPE_CHECKING:
    from ptm.inference.predict.base import InputFiles

NAME = "predict"
HELP = "predict labels, numbers or entities for the texts of files with a fine-tuned model"
ORDER = 85

# A command line is parsed without the modules that read corpora; a test compares these formats.
_FORMATS = ("text", "json_lines", "csv", "csv_semicolon", "tsv", "parquet", "arrow", "conll")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_source(parser)
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="files, folders, globs or URLs in any format that recipes read; - is standard input",
    )
    add_step(parser)
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        help="write the output to this file, which appears when it is whole (default: standard "
        "output)",
    )
    parser.add_argument(
        "--format",
        choices=("tsv", "json_lines"),
        default="tsv",
        help="the format of the output (default tsv, with a header)",
    )
    parser.add_argument(
        "--probabilities",
        action="store_true",
        help="columns with the probability of every label (JSON lines always have them)",
    )
    parser.add_argument(
        "--words",
        choices=("characters", "spaces"),
        help="how a model of tags splits plain text into words: every character is one, or white "
        "space and punctuation separate them (default: characters if at least a fifth of the "
        "vocabulary is Chinese)",
    )
    _add_reading(parser)
    parser.add_argument(
        "--sequence-length",
        type=int,
        metavar="N",
        help="cut inputs of more tokens, special tokens included (default: data.sequence_length)",
    )
    parser.add_argument(
        "--precision",
        choices=("fp32", "bf16"),
        default="fp32",
        help="the precision of the computation (default fp32)",
    )


def _add_reading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--input-format",
        choices=_FORMATS,
        help="the format of the files (default: recognised for each file)",
    )
    parser.add_argument(
        "--encoding",
        default="utf-8",
        metavar="NAME",
        help="the encoding of the text, or detect (default utf-8)",
    )
    for role, text in (
        ("text", "the field or column with the text, or the first text of a pair"),
        ("text-b", "the field or column with the second text of a pair"),
        ("label", "the field or column with the label, from which the accuracy is computed"),
    ):
        parser.add_argument(
            f"--{role}-field", metavar="NAME", help=f"{text} (default: as in the recipe)"
        )


def run(parsed: argparse.Namespace) -> int:
    out: Path | None = parsed.out
    if out is not None and (out.is_dir() or not out.parent.is_dir()):
        folder = out if out.is_dir() else out.parent
        what = "is a folder. Give a file" if out.is_dir() else "is not a folder. Create it"
        raise UserError(f'--out "{out}": "{folder}" {what}.')
    files = _input_files(parsed)
    from ptm.files.writing import replace_with
    from ptm.inference.predict.base import PredictionOptions, predictor_of
    from ptm.inference.predict.output import predicted_lines
    from ptm.interop.sources.open import open_source

    options = PredictionOptions(
        probabilities=parsed.probabilities,
        sequence_length=parsed.sequence_length,
        precision=parsed.precision,
        words=parsed.words,
    )
    predictor = predictor_of(open_source(parsed.source, step=parsed.step), options)
    progress = ProgressLine()
    windows = predicted_lines(predictor, files, form=parsed.format, report=progress.show)
    try:
        if out is None:
            for lines in windows:
                print_result_block("\n".join(lines))
        else:
            with exit_on_signals():
                replace_with(out, lambda file: _write(windows, file))
    finally:
        progress.end()
    print_error(*predictor.notes())
    return EXIT_DONE


def _input_files(parsed: argparse.Namespace) -> InputFiles:
    from ptm.inference.predict.base import InputFiles
    from ptm.text.corpus.encodings import canonical_encoding

    try:
        encoding = canonical_encoding(parsed.encoding)
    except ValueError as error:
        raise UserError(f"--encoding: {error}.") from error
    named = {"text": parsed.text_field, "text_b": parsed.text_b_field, "label": parsed.label_field}
    return InputFiles(
        tuple(parsed.files),
        format=parsed.input_format,
        encoding=encoding,
        fields={role: name for role, name in named.items() if name is not None},
    )


def _write(windows: Iterable[list[str]], file: IO[bytes]) -> None:
    for lines in windows:
        file.write("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
