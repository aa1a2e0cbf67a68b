"""`ptm predict`: the answers of a fine-tuned model for the texts of files."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ptm.cli.arguments import add_quiet, add_source, add_step
from ptm.cli.console import print_note, print_result_block
from ptm.cli.progress import Progress
from ptm.cli.signals import exit_on_signals
from ptm.errors import EXIT_DONE, UserError

if TYPE_CHECKING:
    from ptm.inference.predict.base import InputFiles

NAME = "predict"
HELP = "predict labels, numbers, entities or answers for the texts of files with a fine-tuned model"
ORDER = 85

# A command line is parsed without the modules that read corpora; a test compares these formats.
_FORMATS = (
    "text",
    "json_lines",
    "csv",
    "csv_semicolon",
    "tsv",
    "parquet",
    "arrow",
    "conll",
    "squad",
    "choices",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_source(parser)
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="files, folders, globs or URLs in any format that recipes read; - is standard input",
    )
    add_step(parser)
    add_quiet(parser)
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        help="write the output to this file, which appears when it is whole (default: standard "
        "output)",
    )
    parser.add_argument(
        "--format",
        choices=("tsv", "json_lines", "squad"),
        default="tsv",
        help="the format of the output (default tsv, with a header); squad: one JSON object of "
        "answers by the ids of questions, as SQuAD's evaluation scripts read it",
    )
    parser.add_argument(
        "--probabilities",
        action="store_true",
        help="columns with the probability of every label (JSON lines always have them)",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="P",
        help="the probability from which a label is predicted, of a model whose texts may have "
        "several labels (default: objective.threshold)",
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
        "--n-best",
        type=_positive,
        metavar="N",
        help="answers per question in JSON lines (default 20)",
    )
    parser.add_argument(
        "--no-answer-threshold",
        type=float,
        metavar="X",
        help="how much better the score of no answer must be than that of the best one (default: "
        "objective.no_answer_threshold)",
    )
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
    if out is not None and out.exists():
        for file in parsed.files:
            if Path(file).exists() and out.samefile(file):
                raise UserError(f'--out "{out}": the file is one of the inputs. Give another name.')
    if parsed.threshold is not None and not 0 < parsed.threshold < 1:
        raise UserError(f"--threshold {parsed.threshold}: must be between 0 and 1.")
    with Progress(parsed.source, phase="loading the model", documents="inputs") as progress:
        _predict(parsed, progress)
    return EXIT_DONE


def _predict(parsed: argparse.Namespace, progress: Progress) -> None:
    out: Path | None = parsed.out
    files = _input_files(parsed)
    from ptm.files.writing import replace_with
    from ptm.inference.predict.base import PredictionOptions, predictor_of
    from ptm.inference.predict.output import predicted_lines
    from ptm.interop.sources.open import open_source

    options = PredictionOptions(
        probabilities=parsed.probabilities,
        sequence_length=parsed.sequence_length,
        threshold=parsed.threshold,
        precision=parsed.precision,
        n_best=parsed.n_best,
        no_answer_threshold=parsed.no_answer_threshold,
        words=parsed.words,
    )
    predictor = predictor_of(
        open_source(parsed.source, step=parsed.step), options, fields=files.fields
    )
    windows = predicted_lines(predictor, files, form=parsed.format, report=progress.show)
    if out is None:
        for lines in windows:
            print_result_block("\n".join(lines))
    else:
        with exit_on_signals():
            replace_with(out, lambda file: _write(windows, file))
    print_note(*predictor.notes())


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


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
