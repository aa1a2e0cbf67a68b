"""`ptm vocab`: trains a vocabulary, adapts a model to another one, compares two."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptm.cli.arguments import add_json, add_source
from ptm.cli.console import print_done, print_result
from ptm.cli.progress import Progress
from ptm.errors import EXIT_DONE, UserError

if TYPE_CHECKING:
    from ptm.text.vocabulary_training import TrainingText

NAME = "vocab"
HELP = "train a vocabulary, adapt a model to another one, compare two"
ORDER = 37

_MEGABYTES = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    sub = _add(commands, "train", "train a vocabulary on a corpus")
    sub.set_defaults(command=_train)
    _add_train(sub)
    sub = _add(commands, "adapt", "replace the vocabulary of a model")
    sub.set_defaults(command=_adapt)
    _add_adapt(sub)
    sub = _add(
        commands, "compare", "compare the tokens of two vocabularies and how they split text"
    )
    sub.set_defaults(command=_compare)
    _add_compare(sub)


def _add(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    return parser


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("corpus", metavar="CORPUS", nargs="+", help="files or globs, as in recipes")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--type",
        choices=("wordpiece", "bpe", "unigram", "space"),
        default="wordpiece",
        help="WordPiece, byte-level BPE, a SentencePiece unigram model, or words between spaces",
    )
    parser.add_argument(
        "--size", type=int, metavar="N", help="number of tokens, special tokens included"
    )
    parser.add_argument(
        "--min-count",
        type=int,
        metavar="N",
        help="drop words or pairs that occur less often (default 2)",
    )
    parser.add_argument(
        "--lowercase",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="lowercase the text (default: yes for wordpiece and space, no for bpe and unigram)",
    )
    parser.add_argument(
        "--special",
        metavar="TOKEN",
        action="append",
        default=[],
        help="an additional special token; may be repeated",
    )
    _add_limit(parser)
    _add_reading(parser)


def _add_adapt(parser: argparse.ArgumentParser) -> None:
    add_source(parser)
    parser.add_argument("out", metavar="OUT", type=Path, help="the folder to write")
    parser.add_argument(
        "--vocab",
        metavar="NEW",
        required=True,
        help="a folder of `ptm vocab train`, a model, a recipe or a vocabulary file",
    )
    parser.add_argument(
        "--new",
        choices=("pieces", "mean", "normal"),
        default="pieces",
        help="new embedding rows: mean of the token's pieces in the old vocabulary (default), "
        "mean of the kept rows, or N(0, 0.02)",
    )
    add_json(parser, "print one JSON object")
    parser.add_argument(
        "overrides",
        metavar="KEY=VALUE",
        nargs="*",
        help="keys of the tokenizer block, e.g. type=space",
    )


def _add_compare(parser: argparse.ArgumentParser) -> None:
    for name in ("a", "b"):
        parser.add_argument(
            name,
            metavar=name.upper(),
            help="a folder of `ptm vocab train`, a model, a recipe or a vocabulary file",
        )
    parser.add_argument(
        "--corpus", metavar="FILE", action="append", default=[], help="a text to tokenise with both"
    )
    _add_limit(parser)
    _add_reading(parser)
    add_json(parser, "print one JSON object")


def _add_limit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--megabytes",
        type=float,
        default=_MEGABYTES,
        metavar="N",
        help=f"megabytes of text to read, spread evenly over a larger corpus (default "
        f"{_MEGABYTES})",
    )


def _add_reading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--text-field",
        metavar="NAME",
        help="the field of JSON lines, or the column of CSV, TSV, parquet and Arrow, with the text "
        "(default text)",
    )
    parser.add_argument(
        "--encoding",
        default="utf-8",
        metavar="NAME",
        help="the encoding of the text, or detect (default utf-8)",
    )


def run(parsed: argparse.Namespace) -> int:
    """Unreachable: each of the three subcommands has its own function."""
    raise AssertionError(f"no command of {parsed}")


def _text(patterns: list[str], parsed: argparse.Namespace, progress: Progress) -> TrainingText:
    from ptm.text.corpus import ReadOptions, find_corpus, recognise
    from ptm.text.corpus.encodings import canonical_encoding
    from ptm.text.vocabulary_training import TrainingText

    if parsed.megabytes <= 0:
        raise UserError(f"--megabytes {parsed.megabytes:g}: must be above 0.")
    try:
        encoding = canonical_encoding(parsed.encoding)
    except ValueError as error:
        raise UserError(f"--encoding: {error}") from error
    fields = {"text": parsed.text_field} if parsed.text_field else {}
    options = ReadOptions(encoding=encoding, fields=fields, key="")
    corpus = recognise(find_corpus(patterns, field="corpus"), "documents", options)
    return TrainingText(corpus=corpus, limit=int(parsed.megabytes * 1e6), report=progress.show)


def _train(parsed: argparse.Namespace) -> int:
    import yaml

    from ptm.interop.adapt_vocabulary import write_vocabulary
    from ptm.text.vocabulary_training import VocabularyRequest, trainers

    for option in ("size", "min_count"):
        value = getattr(parsed, option)
        if value is not None and value < 1:
            raise UserError(f"--{option.replace('_', '-')} {value}: must be at least 1.")
    if parsed.out.exists():
        raise UserError(f"{parsed.out}: already exists. Give another folder or remove this one.")
    lowercase = parsed.type in ("wordpiece", "space")
    wish = VocabularyRequest(
        size=parsed.size,
        min_count=parsed.min_count,
        lowercase=lowercase if parsed.lowercase is None else parsed.lowercase,
        extra=tuple(parsed.special),
    )
    with Progress(str(parsed.out)) as progress:
        text = _text(parsed.corpus, parsed, progress)
        trained = trainers()[parsed.type].train(text, wish)
    block = write_vocabulary(parsed.out, trained)
    part = f", trained on {text.share:.1%} of the corpus" if text.share < 1 else ""
    print_done(f"# {parsed.out}: {trained.size:,} tokens{part}")
    if parsed.size is not None and trained.size < parsed.size:
        print_done(f"# fewer tokens than --size {parsed.size}: {_why_fewer(parsed)}")
    for text_line in yaml.safe_dump({"tokenizer": block}, sort_keys=False).splitlines():
        print_done(text_line)
    return EXIT_DONE


def _why_fewer(parsed: argparse.Namespace) -> str:
    """Why a vocabulary has fewer tokens than wanted."""
    from ptm.text.vocabulary_training.base import MIN_COUNT

    least = MIN_COUNT if parsed.min_count is None else parsed.min_count
    # unigram counts no words and has no --min-count.
    if parsed.type == "unigram" or least == 1:
        return "the corpus does not yield more"
    return f"the corpus does not yield more with --min-count {least}; a smaller one may"


def _adapt(parsed: argparse.Namespace) -> int:
    from dataclasses import asdict

    from ptm.interop.adapt_vocabulary import adapt

    adapted = adapt(
        parsed.source,
        parsed.out,
        vocabulary=parsed.vocab,
        options=parsed.overrides,
        new_rows=parsed.new,
    )
    if parsed.json:
        print_done(json.dumps({"out": str(parsed.out), **asdict(adapted)}, ensure_ascii=False))
        return EXIT_DONE
    rest = adapted.new - adapted.from_pieces
    how = {"mean": "the mean of kept rows", "normal": "N(0, 0.02)"}.get(parsed.new)
    print_done(
        f"{parsed.out}: {adapted.size:,} tokens, {adapted.parameters:,} parameters: "
        f"{adapted.kept:,} rows kept, {adapted.left:,} dropped, {adapted.new:,} new"
        + (
            f" as {how}"
            if how
            else f" ({adapted.from_pieces:,} as the mean of their pieces, {rest:,} as the mean of "
            "the kept rows)"
        )
    )
    return EXIT_DONE


def _compare(parsed: argparse.Namespace) -> int:
    from ptm.interop.adapt_vocabulary import find_tokenizer
    from ptm.text.compare_vocabularies import compare, coverage

    both = (find_tokenizer(parsed.a).load(), find_tokenizer(parsed.b).load())
    result: dict[str, Any] = {"vocabularies": [parsed.a, parsed.b], **compare(*both)}
    if parsed.corpus:
        with Progress("coverage") as progress:
            text = _text(parsed.corpus, parsed, progress)
            result["corpus"] = [found.summary() for found in coverage(both, text)]
    if parsed.json:
        print_result(json.dumps(result, ensure_ascii=False))
        return EXIT_DONE
    print_result(f"{result['shared']:,} tokens in both, {result['same_id']:,} with the same id")
    for index, name in enumerate(result["vocabularies"]):
        shown = " ".join(map(repr, result["examples"][index]))
        print_result(
            f"{name}: {result['sizes'][index]:,} tokens, {result['only'][index]:,} only in this "
            "vocabulary"
        )
        if shown:
            print_result(f"  for example {shown}")
        if parsed.corpus:
            found = result["corpus"][index]
            print_result(
                f"  {found['tokens_per_character']:.4f} tokens per character, "
                f"{100 * found['unknown_rate']:.3f} % unknown tokens"
            )
    return EXIT_DONE
