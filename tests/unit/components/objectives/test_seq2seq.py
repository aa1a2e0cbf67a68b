from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ptm.components.objectives.seq2seq import Seq2Seq
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

# Sources of 3 and 4 tokens and targets of 4 and 2 tokens, special tokens included.
TEXT = "a\tb c d\nf g\th\n"
EMBEDDING = {"parts": ["word", "position"]}
BLOCK = ModelBlock.model_validate(
    {
        "dropout": 0.0,
        "embedding": EMBEDDING,
        "encoder": SIZES,
        "target_embedding": {**EMBEDDING, "shared": False},
        "decoder": SIZES,
    }
)


@pytest.fixture
def target_vocab(tmp_path: Path) -> Path:
    """A vocabulary with other and fewer ids than that of the sources."""
    tokens = [*"hgfedcba", "[SEP]", "[CLS]", "[MASK]", "[UNK]", "[PAD]"]
    path = tmp_path / "target_vocab.txt"
    path.write_text("\n".join(tokens) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def make_rows(
    build_store: BuildStore, tmp_path: Path, tiny_vocab: Path, target_vocab: Path
) -> MakeRows:
    def make(
        text: str = TEXT,
        *,
        size: RowSize | None = None,
        packing: bool = True,
        smoothing: float = 0.0,
    ) -> TwoSideRows:
        folder = tmp_path / f"packing-{packing}"
        store = build_store(
            folder, text, vocab=tiny_vocab, target_vocab=target_vocab, layout="pairs"
        )
        source, target = (
            WordPiece(type="wordpiece", vocab=str(vocab)).load().vocabulary
            for vocab in (tiny_vocab, target_vocab)
        )
        return TwoSideRows(
            store,
            Vocabularies(source, target),
            Seq2Seq(type="seq2seq", label_smoothing=smoothing),
            size or RowSize(8, 8),
            packing=packing,
        )

    return make


def test_a_row_of_two_pairs_has_the_expected_tensors(make_rows: MakeRows) -> None:
    rows = make_rows()
    batch = rows.batch([0])
    assert len(rows.rows) == 1
    source, target = rows.vocabularies.source.tokens, rows.vocabularies.target.tokens
    tensors = {name: array[0].tolist() for name, array in batch.tensors.items()}
    assert words(tensors["input_ids"], source) == "[CLS] a [SEP] [CLS] f g [SEP] [PAD]"
    assert tensors["position_ids"] == [0, 1, 2, 0, 1, 2, 3, 0]
    assert tensors["segment_ids"] == [1, 1, 1, 1, 1, 1, 1, 0]
    assert tensors["example_ids"] == [1, 1, 1, 2, 2, 2, 2, 0]
    assert words(tensors["decoder_input_ids"], target) == "[CLS] b c d [CLS] h [PAD] [PAD]"
    assert tensors["decoder_position_ids"] == [0, 1, 2, 3, 0, 1, 0, 0]
    assert tensors["decoder_segment_ids"] == [1, 1, 1, 1, 1, 1, 0, 0]
    assert tensors["decoder_example_ids"] == [1, 1, 1, 1, 2, 2, 0, 0]
    assert words(tensors["target_ids"][:6], target) == "b c d [SEP] h [SEP]"
    assert tensors["target_weights"] == [1, 1, 1, 1, 1, 1, 0, 0]
    assert (batch.counts, batch.rows, batch.examples) == ({"predicted": 6}, 1, 2)
    assert batch.tokens == 13, "real tokens of both sides, specials included"


def test_a_pair_that_is_too_long_is_cut_and_reported(make_rows: MakeRows) -> None:
    rows = make_rows("a b c d e f\ta b c d e\na\tb\n", size=RowSize(6, 4), packing=False)
    batch = rows.batch([0, 1])
    source, target = rows.vocabularies.source.tokens, rows.vocabularies.target.tokens
    assert words(batch.tensors["input_ids"][0], source) == "[CLS] a b c d [SEP]"
    assert words(batch.tensors["decoder_input_ids"][0], target) == "[CLS] a b c"
    assert words(batch.tensors["target_ids"][0], target) == "a b c [SEP]"
    assert rows.examples.left_out == {
        "source tokens cut off (pairs too long for a row: 1)": 2,
        "target tokens cut off (pairs too long for a row: 1)": 2,
    }


def test_packed_rows_hold_every_pair_once_within_both_sides(make_rows: MakeRows) -> None:
    draw = np.random.default_rng(0)
    lengths = draw.integers(1, 13, size=(200, 2))
    text = "".join(f"{'a ' * a}\t{'b ' * b}\n" for a, b in lengths)
    rows = make_rows(text, size=RowSize(24, 16))
    batch = rows.batch(range(len(rows.rows)))
    assert len(rows.rows) < 150, "several pairs share a row"
    assert np.array_equal(np.sort(rows.rows.examples), np.arange(200))
    assert (batch.tensors["input_ids"] == 7).sum() == lengths[:, 0].sum()
    assert batch.counts["predicted"] == (lengths[:, 1] + 1).sum()
    for one, other in (("", "decoder_"), ("decoder_", "")):
        for mine, theirs in zip(
            batch.tensors[f"{one}example_ids"], batch.tensors[f"{other}example_ids"], strict=True
        ):
            assert set(mine) - {0} == set(theirs) - {0}, "both sides of a pair share a row"


# Attention


@pytest.mark.parametrize("column", range(6))
def test_a_target_token_affects_only_later_outputs_of_its_pair(
    make_rows: MakeRows, column: int
) -> None:
    rows = make_rows()
    tensors = tensors_of(rows.batch([0]))
    changed = moved(rows.model(BLOCK, "logits"), tensors, "decoder_input_ids", column)
    assert changed.tolist() == list(range(column, 4 if column < 4 else 6))


@pytest.mark.parametrize("column", range(7))
def test_a_source_token_affects_all_outputs_of_its_pair_only(
    make_rows: MakeRows, column: int
) -> None:
    rows = make_rows()
    tensors = tensors_of(rows.batch([0]))
    changed = moved(rows.model(BLOCK, "logits"), tensors, "input_ids", column)
    assert changed.tolist() == ([0, 1, 2, 3] if column < 3 else [4, 5])


def test_a_pair_has_the_same_logits_packed_and_alone(make_rows: MakeRows) -> None:
    rows, alone = make_rows(), make_rows(packing=False)
    model = rows.model(BLOCK, "logits")
    with torch.no_grad():
        packed = model(tensors_of(rows.batch([0])))["logits"]
        apart = model(tensors_of(alone.batch([0, 1])))["logits"]
    torch.testing.assert_close(packed[0, :4], apart[0, :4], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(packed[0, 4:6], apart[1, :2], rtol=1e-4, atol=1e-4)


# The loss


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_over_all_target_tokens(make_rows: MakeRows, smoothing: float) -> None:
    rows = make_rows(smoothing=smoothing)
    tensors = tensors_of(rows.batch([0]))
    sums = rows.objective.metric_sums(rows.model(BLOCK)(tensors), tensors)
    logits = rows.model(BLOCK, "logits")(tensors)["logits"][0, :6]
    wanted = tensors["target_ids"][0, :6]
    nll = F.cross_entropy(logits, wanted, reduction="sum")
    smooth = F.cross_entropy(logits, wanted, reduction="sum", label_smoothing=smoothing)
    torch.testing.assert_close(sums["lm_nll"], nll)
    torch.testing.assert_close(sums["lm_loss"], smooth)
    assert float(sums["lm_accuracy"]) == float((logits.argmax(-1) == wanted).sum())


def test_one_batch_can_be_memorised(make_rows: MakeRows) -> None:
    rows = make_rows("a b\tb a\nb a\ta b\nc d\td c\nd c\tc d\n")
    batch = rows.batch(range(len(rows.rows)))
    losses = losses_while_learning(rows.model(BLOCK), rows, batch, steps=40)
    assert losses[0] > 1.5
    assert losses[-1] < 0.05
