"""Decode the first rows of a training: input tokens, targets and labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from ptm.components.objectives.base import BatchView, MicroBatch
from ptm.data.placement import DECODER
from ptm.loading.rows import PackedDataset
from ptm.text.vocabulary import Vocabularies, Vocabulary

_ROWS_SHOWN = 2

Tensors = Mapping[str, NDArray[np.int64]]


def decoded_rows(rows: PackedDataset) -> Iterator[str]:
    """Describe the first rows, one line per example."""
    chosen = np.arange(min(_ROWS_SHOWN, len(rows)), dtype=np.int64)
    batch = rows.micro_batch(chosen, np.zeros_like(chosen))
    counts = ", ".join(f"{name}: {count:,.6g}" for name, count in batch.counts.items())
    yield f"the first {len(chosen)} rows ({counts}):"
    legend = _legend(rows.objective.view)
    if legend:
        yield f"  x<y>: {legend}"
    for row in range(len(chosen)):
        yield from _decoded_row(batch, row, rows.objective.view, rows.vocabularies)


def _legend(view: BatchView) -> str:
    """What `y` means behind a token `x`; "" if no token has a mark."""
    meanings = []
    if view.hidden is not None:
        meanings.append("the model reads x and predicts y")
    if view.tags is not None:
        meanings.append("x begins a word with the tag y")
    if view.span is not None:
        meanings.append("x is the start or the end of the answer")
    return "; ".join(meanings)


def _decoded_row(
    batch: MicroBatch, row: int, view: BatchView, vocabularies: Vocabularies
) -> Iterator[str]:
    tensors = batch.tensors
    wanted = _hidden_tokens(tensors, row, view, vocabularies.source) | _tags(tensors, row, view)
    wanted |= _spans(tensors, row, view)
    for example in range(1, int(tensors["example_ids"][row].max()) + 1):
        label = _label(tensors, row, example, view)
        words = _words(tensors, row, example, vocabularies.source, wanted=wanted)
        yield f"  row {row}, example {example}{label}: {words}"
        if view.targets:
            yield from _targets(tensors, row, example, view, vocabularies.target)


def _targets(
    tensors: Tensors, row: int, example: int, view: BatchView, vocabulary: Vocabulary
) -> Iterator[str]:
    side = DECODER if f"{DECODER}input_ids" in tensors else ""
    if side:
        yield f"    the decoder reads: {_words(tensors, row, example, vocabulary, side=side)}"
    here = tensors[f"{side}example_ids"][row] == example
    counted = here & (tensors["target_weights"][row] > 0)
    for what, name in view.targets:
        targets = [vocabulary.tokens[int(token)] for token in tensors[name][row][counted]]
        yield f"    {what}: {' '.join(targets)}"


def _words(
    tensors: Tensors,
    row: int,
    example: int,
    vocabulary: Vocabulary,
    *,
    side: str = "",
    wanted: Mapping[int, str] | None = None,
) -> str:
    """The tokens of an example, each followed by its target or tag if it has one: `x<target>`."""
    ids, wanted = tensors[f"{side}input_ids"][row], wanted or {}
    return " ".join(
        f"{vocabulary.tokens[int(ids[at])]}<{wanted[at]}>"
        if at in wanted
        else vocabulary.tokens[int(ids[at])]
        for at in np.flatnonzero(tensors[f"{side}example_ids"][row] == example).tolist()
    )


def _hidden_tokens(
    tensors: Tensors, row: int, view: BatchView, vocabulary: Vocabulary
) -> dict[int, str]:
    """The target tokens of the masked positions of a row, by column."""
    if view.hidden is None:
        return {}
    columns = tensors["input_ids"].shape[1]
    # Positions are indexes into the flattened (rows x columns) batch, padded with weight 0.
    first = row * columns
    arrays = (tensors[name] for name in view.hidden)
    return {
        int(at) - first: vocabulary.tokens[int(token)]
        for at, token, weight in zip(*arrays, strict=True)
        if weight and first <= at < first + columns
    }


def _tags(tensors: Tensors, row: int, view: BatchView) -> dict[int, str]:
    """The tags of the words of a row, by the column of their first token."""
    if view.tags is None:
        return {}
    words = np.flatnonzero(tensors[view.tags.words][row])
    return {int(at): view.tags.names[tensors[view.tags.classes][row][at]] for at in words}


def _spans(tensors: Tensors, row: int, view: BatchView) -> dict[int, str]:
    """The ends of the spans of a row's examples, by column; [CLS] has both without an answer."""
    if view.span is None:
        return {}
    first = _examples_before(tensors, row)
    starts = np.flatnonzero(np.diff(tensors["example_ids"][row], prepend=0) > 0)
    found: dict[int, str] = {}
    for example, column in enumerate(starts.tolist(), start=first):
        for name, what in ((view.span.first, "start"), (view.span.last, "end")):
            at = int(tensors[name][example])
            if at >= 0:
                at += column
                found[at] = f"{found[at]}, {what}" if at in found else what
    return found


def _examples_before(tensors: Tensors, row: int) -> int:
    """The number of examples of all rows before `row`."""
    return int(tensors["example_ids"].max(axis=1)[:row].sum())


def _label(tensors: Tensors, row: int, example: int, view: BatchView) -> str:
    """The label of an example, such as ` (pair label 1)`; empty if there are no labels."""
    if view.labels is None:
        return ""
    # Labels are stored per example, one row after another: skip those of earlier rows.
    before = _examples_before(tensors, row)
    name = view.labels.removesuffix("s").replace("_", " ")
    label = tensors[view.labels][before + example - 1]
    if label.ndim:
        return f" ({name}s {' '.join(map(str, np.flatnonzero(label))) or 'none'})"
    return f" ({name} {int(label)})"
