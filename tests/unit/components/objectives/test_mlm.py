from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from ptm.components.objectives.base import MicroBatch, RandomSource
from ptm.components.objectives.mlm import Mlm
from ptm.data.documents import Documents
from ptm.data.packing import PackedRows, RowSize, one_per_row, pack_sides
from ptm.data.placement import place
from ptm.text.vocabulary import Vocabularies

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptm.data.examples import Examples
    from ptm.store.reader import TokenStore
    from ptm.text.vocabulary import Vocabulary
    from tests.conftest import BuildStore, RealText

LENGTH = 64
SIZE = RowSize(LENGTH, LENGTH)


class Batches:
    """The rows that an objective makes of a store."""

    def __init__(
        self, store: TokenStore, vocabulary: Vocabulary, objective: Mlm, *, packing: bool = True
    ) -> None:
        self.store = store
        self.vocabulary = vocabulary
        self.objective = objective
        self.examples: Examples = objective.index(
            Documents(store), size=SIZE, vocabularies=Vocabularies.shared(vocabulary), seed=7
        )
        self.lengths = objective.row_lengths(self.examples)
        count = len(self.lengths)
        self.rows: PackedRows = pack_sides(self.lengths, SIZE) if packing else one_per_row(count)

    def some_rows(self, count: int) -> list[int]:
        """Evenly spaced rows, with one example and with many."""
        return np.linspace(0, len(self.rows) - 1, count, dtype=int).tolist()

    def batch(self, rows: list[int] | range, *, epoch: int = 0) -> MicroBatch:
        chosen = np.array(rows, dtype=np.int64)
        placement = place(
            self.rows,
            chosen,
            np.full(chosen.size, epoch),
            lengths=self.lengths,
            size=SIZE,
        )
        return self.objective.collate(
            self.examples.texts(self.store, placement.example),
            placement,
            vocabularies=Vocabularies.shared(self.vocabulary),
            random_source=RandomSource(7, "train"),
        )


def original_ids(batch: MicroBatch) -> NDArray[np.int64]:
    """The input ids before masking."""
    tensors = batch.tensors
    ids = tensors["input_ids"].ravel().copy()
    real = tensors["predicted_weights"] == 1
    ids[tensors["predicted_positions"][real]] = tensors["predicted_ids"][real]
    return ids.reshape(tensors["input_ids"].shape)


def predicted(batch: MicroBatch) -> NDArray[np.bool_]:
    flags = np.zeros(batch.tensors["input_ids"].size, dtype=bool)
    real = batch.tensors["predicted_weights"] == 1
    flags[batch.tensors["predicted_positions"][real]] = True
    return flags.reshape(batch.tensors["input_ids"].shape)


@pytest.fixture(scope="module")
def vocabulary(real_text: RealText) -> Vocabulary:
    return real_text.tokenizer.vocabulary


@pytest.fixture(scope="module")
def packed(real_store: TokenStore, vocabulary: Vocabulary) -> Batches:
    return Batches(real_store, vocabulary, Mlm(type="mlm"))


@pytest.fixture(scope="module")
def joined(real_store: TokenStore, vocabulary: Vocabulary) -> Batches:
    return Batches(real_store, vocabulary, Mlm(type="mlm", concatenate=True))


# One document per example


def test_rows_hold_every_token_of_the_store_once(packed: Batches) -> None:
    ids = original_ids(packed.batch(range(len(packed.rows))))
    vocabulary = packed.vocabulary
    around = [vocabulary.special_id(role) for role in ("pad", "cls", "sep")]
    found = np.sort(ids[~np.isin(ids, around)])
    assert np.array_equal(found, np.sort(packed.store.tokens(*packed.store.document_ranges)))


def test_every_example_is_between_cls_and_sep(packed: Batches) -> None:
    batch = packed.batch(packed.some_rows(8))
    ids, numbers = original_ids(batch), batch.tensors["example_ids"]
    vocabulary = packed.vocabulary
    assert batch.examples > 8
    for row, numbers_of_row in zip(ids, numbers, strict=True):
        for number in range(1, numbers_of_row.max() + 1):
            example = row[numbers_of_row == number]
            assert example[0] == vocabulary.special_id("cls")
            assert example[-1] == vocabulary.special_id("sep")
            inner = [vocabulary.special_id(role) for role in ("cls", "sep", "pad", "mask")]
            assert not np.isin(example[1:-1], inner).any()


def test_positions_restart_with_every_example_and_padding_is_zero(packed: Batches) -> None:
    tensors = packed.batch(packed.some_rows(8)).tensors
    for row, numbers in zip(tensors["position_ids"], tensors["example_ids"], strict=True):
        for number in range(1, numbers.max() + 1):
            mine = row[numbers == number]
            assert mine.tolist() == list(range(mine.size))
    padding = tensors["example_ids"] == 0
    assert (tensors["input_ids"][padding] == packed.vocabulary.special_id("pad")).all()
    assert (tensors["segment_ids"] == ~padding).all()
    assert not tensors["position_ids"][padding].any()


def test_tokens_change_only_where_they_are_predicted(packed: Batches) -> None:
    rows = packed.some_rows(20)
    batch = packed.batch(rows)
    ids = original_ids(batch)
    assert (predicted(batch) | (ids == batch.tensors["input_ids"])).all()
    texts = packed.examples.texts(packed.store, packed.rows.members(np.array(rows))[0])
    around = [packed.vocabulary.special_id(role) for role in ("pad", "cls", "sep")]
    assert np.array_equal(ids[~np.isin(ids, around)], texts.tokens)


def test_counts_match_the_tensors(packed: Batches) -> None:
    batch = packed.batch(packed.some_rows(5))
    assert batch.counts["predicted"] == batch.tensors["predicted_weights"].sum()
    assert batch.tokens == (batch.tensors["example_ids"] > 0).sum()
    assert batch.rows == 5
    assert batch.examples == batch.tensors["example_ids"].max(axis=1).sum()


# Dependence of masks on example, batch and epoch


def test_a_row_has_the_same_mask_in_any_batch_and_order(packed: Batches) -> None:
    rows = packed.some_rows(12)
    whole = packed.batch(rows)
    for some in ([5], [11, 0, 5], list(range(11, -1, -1))):
        batch = packed.batch([rows[index] for index in some])
        assert np.array_equal(batch.tensors["input_ids"], whole.tensors["input_ids"][some])
        assert np.array_equal(predicted(batch), predicted(whole)[some])


def test_an_example_has_the_same_mask_packed_and_alone(packed: Batches) -> None:
    alone = Batches(packed.store, packed.vocabulary, packed.objective, packing=False)
    rows = packed.some_rows(6)
    together = packed.batch(rows)
    examples, counts = packed.rows.members(np.array(rows))
    assert counts.max() > 1
    single = alone.batch(examples.tolist())
    row_of = np.repeat(np.arange(6), counts)
    number_of = np.concatenate([np.arange(count) + 1 for count in counts])
    for index, (row, number) in enumerate(zip(row_of, number_of, strict=True)):
        here = together.tensors["example_ids"][row] == number
        there = single.tensors["example_ids"][index] == 1
        assert np.array_equal(
            together.tensors["input_ids"][row][here], single.tensors["input_ids"][index][there]
        )


def test_epochs_are_masked_differently(packed: Batches) -> None:
    first, second = (packed.batch(packed.some_rows(12), epoch=epoch) for epoch in (0, 1))
    assert np.array_equal(original_ids(first), original_ids(second))
    assert not np.array_equal(predicted(first), predicted(second))


# Documents joined to fill rows


def test_full_rows_have_no_padding(joined: Batches) -> None:
    batch = joined.batch(range(len(joined.rows)))
    padded = (batch.tensors["example_ids"] == 0).sum(axis=1)
    assert (padded > 0).sum() <= 1
    assert (batch.tensors["example_ids"].max(axis=1)[padded == 0] == 1).all()


def test_full_rows_hold_every_token_once_and_in_order(joined: Batches) -> None:
    alone = Batches(joined.store, joined.vocabulary, joined.objective, packing=False)
    ids = original_ids(alone.batch(range(len(alone.rows))))
    inner = [row[row != alone.vocabulary.special_id("pad")][1:-1] for row in ids]
    stream = np.concatenate(inner)
    separator = alone.vocabulary.special_id("sep")
    starts, lengths = alone.store.document_ranges
    expected = np.insert(alone.store.tokens(starts, lengths), np.cumsum(lengths)[:-1], separator)
    # A separator after the last document is optional.
    assert np.array_equal(stream[: expected.size], expected)
    assert stream[expected.size :].tolist() in ([], [separator])


def test_separators_inside_a_row_are_never_predicted(joined: Batches) -> None:
    batch = joined.batch(range(len(joined.rows)))
    special = joined.vocabulary.is_special[original_ids(batch)]
    assert not predicted(batch)[special].any()


def test_every_full_row_has_predicted_tokens(
    build_store: BuildStore, real_text: RealText, tmp_path: Path
) -> None:
    # The text fills exactly two rows: a third row would hold only a separator.
    store = build_store(tmp_path, "a " * (2 * (LENGTH - 2)), vocab=real_text.vocab)
    vocabulary = real_text.tokenizer.vocabulary
    rows = Batches(store, vocabulary, Mlm(type="mlm", concatenate=True))
    assert all(rows.batch([row]).counts["predicted"] for row in range(len(rows.rows)))


# The loss


def test_padded_predictions_do_not_count_in_loss_and_accuracy() -> None:
    logits = torch.zeros(4, 5)
    logits[:, 2] = 10.0
    targets = {
        "predicted_ids": torch.tensor([2, 1, 2, 2]),
        "predicted_weights": torch.tensor([1, 1, 0, 0]),
    }
    objective = Mlm(type="mlm")
    sums = objective.metric_sums({"logits": logits}, targets)
    first_two = {name: tensor[:2] for name, tensor in targets.items()}
    shorter = objective.metric_sums({"logits": logits[:2]}, first_two)
    assert sums["mlm_loss"] == pytest.approx(shorter["mlm_loss"].item())
    assert sums["mlm_accuracy"] == shorter["mlm_accuracy"] == 1
