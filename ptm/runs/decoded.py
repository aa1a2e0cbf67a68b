"""The first rows of a training in words: what is read, and what is to be predicted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from ptm.components.objectives import MicroBatch
from ptm.data.placement import DECODER
from ptm.text.vocabulary import Vocabularies, Vocabulary
from ptm.loading.rows import RowSet

_ROWS_SHOWN = 2

Tensors = Mapping[str, NDArray[np.int64]]


def decoded_rows(rows: RowSet) -> Iterator[str]:
    """Lines for a person."""
    chosen = np.arange(min(_ROWS_SHOWN, len(rows)), dtype=np.int64)
    batch = rows.micro_batch(chosen, np.zeros_like(chosen))
    yield f"the first {len(chosen)} rows, {dict(batch.counts)}:"
    for row in range(len(chosen)):
        yield from _decoded_row(batch, row, rows.vocabularies)


def _decoded_row(batch: MicroBatch, row: int, vocabularies: Vocabularies) -> Iterator[str]:
    tensors = batch.tensors
    wanted = _masked_targets(tensors, row, vocabularies.source)
    labels = _pair_labels(tensors, row)
    for example in range(1, int(tensors["example_ids"][row].max()) + 1):
        label = f" (pair label {labels[example - 1]})" if labels else ""
        words = _words(tensors, row, example, vocabularies.source, wanted=wanted)
        yield f"  row {row}, example {example}{label}: {words}"
        if "target_ids" in tensors:
            yield from _next_tokens(tensors, row, example, vocabularies.target)


def _next_tokens(tensors: Tensors, row: int, example: int, vocabulary: Vocabulary) -> Iterator[str]:
    side = DECODER if f"{DECODER}input_ids" in tensors else ""
    if side:
        yield f"    the decoder reads: {_words(tensors, row, example, vocabulary, side=side)}"
    here = tensors[f"{side}example_ids"][row] == example
    counts = here & (tensors["target_weights"][row] > 0)
    targets = [vocabulary.tokens[int(token)] for token in tensors["target_ids"][row][counts]]
    yield f"    to be predicted: {' '.join(targets)}"


def _words(
    tensors: Tensors,
    row: int,
    example: int,
    vocabulary: Vocabulary,
    *,
    side: str = "",
    wanted: Mapping[int, str] | None = None,
) -> str:
    """The tokens of an example, with the one that is wanted behind those that are masked."""
    ids, wanted = tensors[f"{side}input_ids"][row], wanted or {}
    return " ".join(
        f"{vocabulary.tokens[int(ids[at])]}<{wanted[at]}>"
        if at in wanted
        else vocabulary.tokens[int(ids[at])]
        for at in np.flatnonzero(tensors[f"{side}example_ids"][row] == example).tolist()
    )


def _masked_targets(tensors: Tensors, row: int, vocabulary: Vocabulary) -> dict[int, str]:
    """The tokens behind the masks of a row, by column."""
    if "predicted_positions" not in tensors:
        return {}
    columns = tensors["input_ids"].shape[1]
    first = row * columns
    return {
        int(at) - first: vocabulary.tokens[int(token)]
        for at, token, weight in zip(
            tensors["predicted_positions"],
            tensors["predicted_ids"],
            tensors["predicted_weights"],
            strict=True,
        )
        if weight and first <= at < first + columns
    }


def _pair_labels(tensors: Tensors, row: int) -> list[int]:
    """The labels of the row's examples, where the objective is about pairs."""
    if "pair_labels" not in tensors:
        return []
    counts = tensors["example_ids"].max(axis=1)
    first = int(counts[:row].sum())
    return [int(label) for label in tensors["pair_labels"][first : first + counts[row]]]
