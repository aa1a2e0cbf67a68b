from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ptm.components.objectives.prefixlm import PrefixLm
from ptm.data.packing import RowSize
from ptm.recipe.model_block import ModelBlock
from ptm.text.tokenizers.wordpiece import WordPiece
from ptm.text.vocabulary import Vocabularies
from tests.unit.components.objectives.two_side_rows import (
    SIZES,
    TwoSideRows,
    losses_while_learning,
    moved,
    tensors_of,
    words,
)

if TYPE_CHECKING:
    from tests.conftest import BuildStore

MakeRows = Callable[..., TwoSideRows]

# Examples of 6 and 5 input tokens.
TEXT = "a\tb c d\nf g\th\n"
ROW = "[CLS] a [SEP] b c d [CLS] f g [SEP] h [PAD]"
BLOCK = ModelBlock.model_validate({"dropout": 0.0, "encoder": {**SIZES, "visibility": "prefix"}})


@pytest.fixture
def make_rows(build_store: BuildStore, tmp_path: Path, tiny_vocab: Path) -> MakeRows:
    def make(text: str = TEXT, *, size: int = 12, packing: bool = True) -> TwoSideRows:
        store = build_store(tmp_path / "pairs", text, vocab=tiny_vocab, layout="pairs")
        vocabulary = WordPiece(type="wordpiece", vocab=str(tiny_vocab)).load().vocabulary
        return TwoSideRows(
            store,
            Vocabularies.shared(vocabulary),
            PrefixLm(type="prefixlm"),
            RowSize(size, size),
            packing=packing,
        )

    return make


def test_a_row_of_two_pairs_has_the_expected_tensors(make_rows: MakeRows) -> None:
    rows = make_rows()
    batch = rows.batch([0])
    tokens = rows.vocabularies.source.tokens
    tensors = {name: array[0].tolist() for name, array in batch.tensors.items()}
    assert words(tensors["input_ids"], tokens) == ROW
    assert tensors["position_ids"] == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 0]
    assert tensors["segment_ids"] == [1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 2, 0]
    assert tensors["example_ids"] == [1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 0]
    assert tensors["target_weights"] == [0, 0, 1, 1, 1, 1, 0, 0, 0, 1, 1, 0]
    wanted = batch.tensors["target_ids"][batch.tensors["target_weights"] == 1]
    assert words(wanted, tokens) == "b c d [SEP] h [SEP]"
    assert (batch.counts, batch.rows, batch.examples) == ({"predicted": 6}, 1, 2)
    assert batch.tokens == 11


def test_a_pair_that_is_too_long_is_cut_and_reported(
    make_rows: MakeRows,
) -> None:
    rows = make_rows("a b c d e f\tg h i j k\na\tb c d e f\n", size=8, packing=False)
    tokens = rows.vocabularies.source.tokens
    batch = rows.batch([0, 1])
    assert words(batch.tensors["input_ids"][0], tokens) == "[CLS] a b c [SEP] g h i"
    assert words(batch.tensors["input_ids"][1], tokens) == "[CLS] a [SEP] b c d e f"
    assert rows.examples.left_out == {
        "source tokens cut off (pairs too long for a row: 1)": 3,
        "target tokens cut off (pairs too long for a row: 1)": 2,
    }


def test_packed_rows_hold_every_pair_once(make_rows: MakeRows) -> None:
    lengths = np.random.default_rng(0).integers(1, 9, size=(200, 2))
    rows = make_rows("".join(f"{'a ' * a}\t{'b ' * b}\n" for a, b in lengths), size=32)
    batch = rows.batch(range(len(rows.rows)))
    assert len(rows.rows) < 100
    assert (batch.tensors["input_ids"] == 7).sum() == lengths[:, 0].sum()
    assert batch.counts["predicted"] == (lengths[:, 1] + 1).sum()


# Attention


@pytest.mark.parametrize("column", [3, 4, 5, 10])
def test_a_target_token_affects_only_later_outputs_of_its_pair(
    make_rows: MakeRows, column: int
) -> None:
    rows = make_rows()
    tensors = tensors_of(rows.batch([0]))
    changed = moved(rows.model(BLOCK, "logits"), tensors, "input_ids", column)
    assert changed.tolist() == list(range(column, 6 if column < 6 else 11))


@pytest.mark.parametrize("column", [0, 1, 2, 6, 7, 8, 9])
def test_a_source_token_affects_all_outputs_of_its_pair_only(
    make_rows: MakeRows, column: int
) -> None:
    rows = make_rows()
    tensors = tensors_of(rows.batch([0]))
    changed = moved(rows.model(BLOCK, "logits"), tensors, "input_ids", column)
    assert changed.tolist() == (list(range(6)) if column < 6 else list(range(6, 11)))


# The loss


def test_the_loss_is_over_target_tokens_only(make_rows: MakeRows) -> None:
    rows = make_rows()
    tensors = tensors_of(rows.batch([0]))
    sums = rows.objective.metric_sums(rows.model(BLOCK)(tensors), tensors)
    logits = rows.model(BLOCK, "logits")(tensors)["logits"][0, [2, 3, 4, 5, 9, 10]]
    ids = rows.vocabularies.source.ids
    wanted = torch.tensor([ids[token] for token in ("b", "c", "d", "[SEP]", "h", "[SEP]")])
    torch.testing.assert_close(sums["lm_loss"], F.cross_entropy(logits, wanted, reduction="sum"))
    assert float(sums["lm_accuracy"]) == float((logits.argmax(-1) == wanted).sum())


def test_one_batch_can_be_memorised(make_rows: MakeRows) -> None:
    rows = make_rows("a b\tb a\nb a\ta b\nc d\td c\nd c\tc d\n")
    batch = rows.batch(range(len(rows.rows)))
    losses = losses_while_learning(rows.model(BLOCK), rows, batch, steps=40)
    assert losses[0] > 1.5
    assert losses[-1] < 0.05
