"""`ptm vocab`: make a vocabulary, give a model another one, compare two."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptm.cli.arguments import add_json, add_source
from ptm.cli.progress import ProgressLine
from ptm.errors import EXIT_DONE, UserError

if TYPE_CHECKING:
    from ptm.text.vocabulary_training import TrainingText

NAME = "vocab"
HELP = "make a vocabulary, give a model another one, compare two"
ORDER = 120

_MEGABYTES = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Three commands."""
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    sub = commands.add_parser("train", help="make a vocabulary of a corpus")
    sub.set_defaults(command=_train)
    _add_train(sub)
    sub = commands.add_parser("adapt", help="give a model another vocabulary")
    sub.set_defaults(command=_adapt)
    _add_adapt(sub)
    sub = commands.add_parser("compare", help="what two vocabularies share, and how they cut")
    sub.set_defaults(command=_compare)
    _add_compare(sub)


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("corpus", metavar="CORPUS", nargs="+", help="files or globs, as in recipes")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--type",
        choices=("wordpiece", "bpe", "unigram", "space"),
        default="wordpiece",
        help="BERT's pieces, byte-level BPE, a SentencePiece model, or whole words between spaces",
    )
    parser.add_argument("--size", type=int, metavar="N", help="tokens, special ones included")
    parser.add_argument(
        "--min-count", type=int, metavar="N", help="leave out what occurs less often (default 2)"
    )
    parser.add_argument(
        "--lowercase",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="default: yes for wordpiece and space, no for bpe and unigram",
    )
    parser.add_argument(
        "--special", metavar="TOKEN", action="append", default=[], help="another special token"
    )
    _add_limit(parser)


def _add_adapt(parser: argparse.ArgumentParser) -> None:
    add_source(parser)
    parser.add_argument("out", metavar="OUT", type=Path, help="the folder to write")
    parser.add_argument(
        "--vocab",
        metavar="NEW",
        required=True,
        help="what `ptm vocab train` wrote, a model, a recipe, or a vocabulary's file",
    )
    parser.add_argument(
        "--new",
        choices=("pieces", "mean", "normal"),
        default="pieces",
        help="new rows: mean of the old pieces of the token, mean of kept rows, or N(0, 0.02)",
    )
    add_json(parser, "as one JSON object")
    parser.add_argument(
        "overrides", metavar="KEY=VALUE", nargs="*", help="of the tokenizer's block: type=space"
    )


def _add_compare(parser: argparse.ArgumentParser) -> None:
    for name in ("a", "b"):
        parser.add_argument(name, metavar=name.upper(), help="as --vocab of adapt")
    parser.add_argument(
        "--corpus", metavar="FILE", action="append", default=[], help="a text to cut with both"
    )
    _add_limit(parser)
    add_json(parser, "as one JSON object")


def _add_limit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--megabytes",
        type=float,
        default=_MEGABYTES,
        metavar="N",
        help=f"of text to read, evenly spread over a larger corpus (default {_MEGABYTES})",
    )


def run(parsed: argparse.Namespace) -> int:
    """Unreachable: each of the three commands has its own."""
    raise AssertionError(f"no command of {parsed}")


def _text(patterns: list[str], megabytes: float, line: ProgressLine) -> TrainingText:
    from ptm.text.corpus import find_corpus
    from ptm.text.vocabulary_training import TrainingText

    if megabytes <= 0:
        raise UserError(f"--megabytes {megabytes:g}: must be above 0.")
    corpus = find_corpus(patterns, field="corpus")
    return TrainingText(corpus=corpus, limit=int(megabytes * 1e6), report=line.show)


def _train(parsed: argparse.Namespace) -> int:
    import yaml

    from ptm.interop.adapt_vocabulary import write_vocabulary
    from ptm.text.vocabulary_training import Wish, trainers

    for option in ("size", "min_count"):
        value = getattr(parsed, option)
        if value is not None and value < 1:
            raise UserError(f"--{option.replace('_', '-')} {value}: must be at least 1.")
    if parsed.out.exists():
        raise UserError(f"{parsed.out}: exists already; name another folder or remove it.")
    line = ProgressLine()
    text = _text(parsed.corpus, parsed.megabytes, line)
    lowercase = parsed.type in ("wordpiece", "space")
    wish = Wish(
        size=parsed.size,
        min_count=parsed.min_count,
        lowercase=lowercase if parsed.lowercase is None else parsed.lowercase,
        extra=tuple(parsed.special),
    )
    trained = trainers()[parsed.type].train(text, wish)
    line.end()
    block = write_vocabulary(parsed.out, trained)
    part = f", of {text.share:.1%} of the corpus" if text.share < 1 else ""
    print(f"# {parsed.out}: {trained.size:,} tokens{part}")
    if parsed.size is not None and trained.size < parsed.size:
        print(f"# fewer than --size {parsed.size}: the text gives no more")
    print(yaml.safe_dump({"tokenizer": block}, sort_keys=False), end="")
    return EXIT_DONE


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
        print(json.dumps({"out": str(parsed.out), **asdict(adapted)}, ensure_ascii=False))
        return EXIT_DONE
    rest = adapted.new - adapted.from_pieces
    how = {"mean": "the mean of kept rows", "normal": "N(0, 0.02)"}.get(parsed.new)
    print(
        f"{parsed.out}: {adapted.size:,} tokens, {adapted.parameters:,} parameters: "
        f"{adapted.kept:,} rows kept, {adapted.left:,} left out, {adapted.new:,} new"
        + (
            f" as {how}"
            if how
            else f" ({adapted.from_pieces:,} the mean of their pieces, {rest:,} of kept rows)"
        )
    )
    return EXIT_DONE


def _compare(parsed: argparse.Namespace) -> int:
    from ptm.interop.adapt_vocabulary import find_tokenizer
    from ptm.text.compare_vocabularies import compare, figures

    both = (find_tokenizer(parsed.a).load(), find_tokenizer(parsed.b).load())
    result: dict[str, Any] = {"vocabularies": [parsed.a, parsed.b], **compare(*both)}
    if parsed.corpus:
        line = ProgressLine()
        text = _text(parsed.corpus, parsed.megabytes, line)
        result["corpus"] = [found.story() for found in figures(both, text)]
        line.end()
    if parsed.json:
        print(json.dumps(result, ensure_ascii=False))
        return EXIT_DONE
    print(f"{result['shared']:,} tokens in both, {result['same_id']:,} of them with the same id")
    for index, name in enumerate(result["vocabularies"]):
        shown = " ".join(result["examples"][index])
        print(f"{name}: {result['sizes'][index]:,} tokens, {result['only'][index]:,} only here")
        if shown:
            print(f"  such as {shown}")
        if parsed.corpus:
            found = result["corpus"][index]
            print(
                f"  {found['tokens_per_character']:.4f} tokens a character, "
                f"{100 * found['unknown_rate']:.3f} % unknown"
            )
    return EXIT_DONE
