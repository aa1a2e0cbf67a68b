"""Real pairs in packed rows: all are present and in order, whole or cut at their ends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from ptm.components.objectives.prefixlm import PrefixLm
from ptm.components.objectives.seq2seq import Seq2Seq
from ptm.data.packing import RowSize
from ptm.data.two_sides import split_sides
from ptm.text.tokenizers.wordpiece import WordPiece
from ptm.text.vocabulary import Vocabularies
from tests.unit.components.objectives.two_side_rows import TwoSideRows

if TYPE_CHECKING:
    from ptm.components.objectives.base import MicroBatch, Objective
    from tests.conftest import BuildStore


@pytest.fixture(params=["seq2seq", "prefixlm"])
def rows(
    request: pytest.FixtureRequest, shared_data: Path, build_store: BuildStore, tmp_path: Path
) -> TwoSideRows:
    """seq2seq in rows of 64 with two vocabularies, or prefixlm in rows of 128 with one."""
    english, chinese = (
        shared_data / "vocab" / f"google_{name}_vocab.txt" for name in ("uncased_en", "zh")
    )
    two = request.param == "seq2seq"
    text = (shared_data / "news-commentary-v13-en-zh_sampled.txt").read_text(encoding="utf-8")
    store = build_store(
        tmp_path / "news",
        text,
        vocab=english if two else chinese,
        target_vocab=chinese if two else None,
        layout="pairs",
    )
    source, target = (
        WordPiece(type="wordpiece", vocab=str(vocab)).load().vocabulary
        for vocab in ((english if two else chinese), chinese)
    )
    objective: Objective = Seq2Seq(type="seq2seq") if two else PrefixLm(type="prefixlm")
    size = RowSize(64, 64) if two else RowSize(128, 128)
    return TwoSideRows(store, Vocabularies(source, target), objective, size)


def by_example(batch: MicroBatch, side: str, name: str) -> list[list[int]]:
    """The values of a tensor of one side without padding: a list per example, row after row."""
    numbers: NDArray[np.int64] = batch.tensors[f"{side}example_ids"]
    values = batch.tensors[name]
    counts = batch.tensors["target_weights"] if name == "target_ids" else np.ones_like(values)
    return [
        values[row][(numbers[row] == number) & (counts[row] == 1)].tolist()
        for row in range(len(numbers))
        for number in range(1, int(numbers[row].max()) + 1)
    ]


def test_every_pair_is_input_and_target_as_stored(rows: TwoSideRows) -> None:
    batch = rows.batch(range(len(rows.rows)))
    side = "decoder_" if isinstance(rows.objective, Seq2Seq) else ""
    texts = rows.examples.texts(rows.store, rows.rows.examples)
    sources, targets = (
        np.split(one.tokens, np.cumsum(one.lengths)[:-1]) for one in split_sides(texts)
    )
    separator = rows.vocabularies.target.special_id("sep")
    predicted = by_example(batch, side, "target_ids")
    assert predicted == [[*target.tolist(), separator] for target in targets]
    read = by_example(batch, "", "input_ids")
    assert [one[1 : 1 + source.size] for one, source in zip(read, sources, strict=True)] == [
        source.tolist() for source in sources
    ]
    assert len(read) == batch.examples == rows.store.info.documents == 1000


def test_left_out_counts_all_missing_tokens(rows: TwoSideRows) -> None:
    lost = rows.store.info.tokens - int(rows.examples.lengths.sum())
    assert lost == sum(rows.examples.left_out.values()) > 0


def test_rows_are_well_filled(rows: TwoSideRows) -> None:
    cells = len(rows.rows) * rows.size.source * rows.lengths.shape[1]
    assert rows.lengths.sum() / cells > (0.8 if rows.lengths.shape[1] == 2 else 0.9)
