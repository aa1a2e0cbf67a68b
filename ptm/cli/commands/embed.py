"""`ptm embed`: vectors of texts or of their tokens."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ptm.cli.arguments import add_json, add_source, texts_of
from ptm.cli.console import print_done, print_note, print_result
from ptm.cli.progress import Progress
from ptm.counted import counted
from ptm.errors import EXIT_DONE, UserError

if TYPE_CHECKING:
    from ptm.inference.embed import F32, Embedder, TokenVectors

NAME = "embed"
HELP = "print or write the vectors of texts or of their tokens"
ORDER = 110

_POOLINGS = ("first", "mean", "max", "last")
_NUMBERS_SHOWN = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_source(parser)
    parser.add_argument("text", metavar="TEXT", nargs="*", help="texts to embed")
    parser.add_argument(
        "--file", metavar="FILE", type=Path, help="a file with more texts, one per line"
    )
    parser.add_argument(
        "--pooling",
        choices=_POOLINGS,
        help="how a text's token vectors are pooled (default: that of a model of sentence "
        "embeddings, otherwise mean)",
    )
    parser.add_argument(
        "--dimensions",
        metavar="N",
        type=int,
        help="only the first N numbers of each vector, for models trained with "
        "objective.matryoshka",
    )
    parser.add_argument(
        "--tokens", action="store_true", help="one vector per token, without pooling"
    )
    parser.add_argument(
        "--layers",
        choices=("last", "mix"),
        default="last",
        help="the vectors of the last layer, or a weighted sum of the embedding and all layers "
        "(default last)",
    )
    parser.add_argument(
        "--layer-weights",
        metavar="WEIGHT",
        type=float,
        nargs="+",
        help="the weights of --layers mix, the embedding's first (default equal weights)",
    )
    parser.add_argument(
        "--out",
        metavar="FILE.npy",
        type=Path,
        help="write all vectors to this file (float32, one row per vector)",
    )
    add_json(parser, "print one JSON object per text")


def run(parsed: argparse.Namespace) -> int:
    _check_options(parsed)
    texts, places = texts_of(parsed, action="embed")
    with Progress(parsed.source, phase="loading the model"):
        from ptm.inference.embed import Embedder, LayerMix
        from ptm.interop.sources.open import open_source

        weights = tuple(parsed.layer_weights) if parsed.layer_weights else None
        mix = LayerMix(weights) if parsed.layers == "mix" else None
        embedder = Embedder(open_source(parsed.source), mix=mix)
    if parsed.tokens:
        _tokens(parsed, embedder, texts, places)
    else:
        _sentences(parsed, embedder, texts, places)
    return EXIT_DONE


def _check_options(parsed: argparse.Namespace) -> None:
    if parsed.tokens and parsed.pooling:
        raise UserError(
            "--tokens gives one vector per token and --pooling one per text. Use only one of them."
        )
    if parsed.dimensions is not None and (parsed.tokens or parsed.dimensions < 1):
        raise UserError(
            f"--dimensions {parsed.dimensions}: must be at least 1, and is for one vector per "
            "text, without --tokens."
        )
    _check_weights(parsed.layers, parsed.layer_weights)
    out: Path | None = parsed.out
    if out is not None and out.suffix != ".npy":
        raise UserError(f'--out "{out}": the name must end in .npy, the format of the file.')
    if out is not None and not out.parent.is_dir():
        raise UserError(
            f'--out "{out}": "{out.parent}" is not a folder. Create it or give another path.'
        )


def _check_weights(layers: str, weights: Sequence[float] | None) -> None:
    if weights is None:
        return
    if layers != "mix":
        raise UserError("--layer-weights are the weights of --layers mix. Add it.")
    for weight in weights:
        if not math.isfinite(weight):
            raise UserError(f"--layer-weights: {weight} is not a finite number.")
    if not any(weights):
        raise UserError("--layer-weights: all weights are 0. Give at least one other number.")


def _sentences(
    parsed: argparse.Namespace, embedder: Embedder, texts: Sequence[str], places: Sequence[str]
) -> None:
    if parsed.dimensions is not None and parsed.dimensions > embedder.width:
        raise UserError(
            f"--dimensions {parsed.dimensions}: the vectors of the model have {embedder.width} "
            "numbers. Give at most as many."
        )
    vectors = embedder.sentences(
        texts, places=places, pooling=parsed.pooling, dimensions=parsed.dimensions
    )
    print_note(*embedder.notes())
    if parsed.out is not None:
        _write(vectors, parsed.out)
    for row, text in enumerate(texts):
        if parsed.json:
            where = {"row": row} if parsed.out else {"vector": vectors[row].tolist()}
            print_result(json.dumps({"text": text, **where}, ensure_ascii=False))
        elif parsed.out is None:
            print_result(text)
            print_result(f"  {_shown(vectors[row])}{_cosine(vectors, row)}")
    _print_path(parsed, vectors)


def _tokens(
    parsed: argparse.Namespace, embedder: Embedder, texts: Sequence[str], places: Sequence[str]
) -> None:
    found = embedder.tokens(texts, places=places)
    import numpy as np

    vectors = np.concatenate([one.vectors for one in found])
    if parsed.out is not None:
        _write(vectors, parsed.out)
    row = 0
    for text, one in zip(texts, found, strict=True):
        if parsed.json:
            rows = [row, row + len(one.tokens)]
            where = {"rows": rows} if parsed.out else {"vectors": one.vectors.tolist()}
            shown = {"text": text, "tokens": one.tokens, **where}
            print_result(json.dumps(shown, ensure_ascii=False))
        elif parsed.out is None:
            _print_tokens(text, one)
        row += len(one.tokens)
    _print_path(parsed, vectors)


def _print_tokens(text: str, found: TokenVectors) -> None:
    print_result(text)
    for token, vector in zip(found.tokens, found.vectors, strict=True):
        print_result(f"  {token}  {_shown(vector)}")


def _write(vectors: F32, out: Path) -> None:
    """Write the file under its name only when it is complete."""
    import numpy as np

    from ptm.files.writing import replace_with

    replace_with(out, lambda file: np.save(file, vectors))


def _print_path(parsed: argparse.Namespace, vectors: F32) -> None:
    if parsed.out is not None and not parsed.json:
        print_done(
            f"{parsed.out}: {counted(vectors.shape[0], 'vector')} of {vectors.shape[1]:,} numbers"
        )


def _shown(vector: F32) -> str:
    numbers = " ".join(f"{number:.3f}" for number in vector[:_NUMBERS_SHOWN])
    return f"{numbers} … ({len(vector)} numbers)"


def _cosine(vectors: F32, row: int) -> str:
    """The cosine similarity to the first text, as it is printed."""
    if row == 0:
        return ""
    first, mine = vectors[0].astype(float), vectors[row].astype(float)
    lengths = float((first @ first) * (mine @ mine)) ** 0.5
    return f", cosine to the first {float(first @ mine) / lengths:.3f}"
