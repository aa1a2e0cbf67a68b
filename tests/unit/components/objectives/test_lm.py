"""Causal language modelling: every token is predicted once, from earlier ones; padding never."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from ptm.components.objectives.base import MicroBatch, RandomSource
from ptm.components.objectives.lm import Lm
from ptm.data.documents import Documents
from ptm.data.packing import RowSize, pack_sides
from ptm.data.placement import place
from ptm.data.windows import BEGINS, ENDS, document_windows
from ptm.store.reader import TokenStore
from ptm.text.vocabulary import Vocabularies, Vocabulary
from tests.conftest import RealText

LENGTH = 32
SIZE = RowSize(LENGTH, LENGTH)
KINDS = {
    "started": Lm(type="lm"),
    "unstarted": Lm(type="lm", add_bos=False),
    "joined": Lm(type="lm", concatenate=True),
}


def whole(objective: Lm, store: TokenStore, vocabulary: Vocabulary) -> MicroBatch:
    """All rows of a store at once."""
    both = Vocabularies.shared(vocabulary)
    examples = objective.index(Documents(store), size=SIZE, vocabularies=both, seed=7)
    lengths = objective.row_lengths(examples)
    rows = pack_sides(lengths, SIZE)
    chosen = np.arange(len(rows))
    placement = place(rows, chosen, np.zeros_like(chosen), lengths=lengths, size=SIZE)
    return objective.collate(
        examples.texts(store, placement.example),
        placement,
        vocabularies=both,
        random_source=RandomSource(7, "train"),
    )


@pytest.mark.parametrize("start_token", [True, False])
@pytest.mark.parametrize("size", [1, 3, 7])
def test_windows_of_a_document_overlap_by_one_token(size: int, start_token: bool) -> None:
    for length in range(1, 20):
        windows = document_windows(
            np.array([100]), np.array([length]), size, start_token=start_token
        )
        stream = ["<s>"] * start_token + list(range(100, 100 + length)) + ["</s>"]
        found = []
        for start, count, label in zip(
            windows.starts, windows.lengths, windows.labels, strict=True
        ):
            tokens = list(range(start, start + count))
            window = ["<s>"] * bool(label & BEGINS) + tokens + ["</s>"] * bool(label & ENDS)
            assert 2 <= len(window) <= size + 1
            found.append(window)
        assert [window[0] for window in found] == stream[:-1:size]
        assert [token for window in found for token in window[1:]] == stream[1:]


@pytest.mark.parametrize("kind", KINDS)
def test_every_token_of_the_store_is_predicted_once(
    real_store: TokenStore, real_text: RealText, kind: str
) -> None:
    vocabulary = real_text.tokenizer.vocabulary
    batch = whole(KINDS[kind], real_store, vocabulary)
    weights, targets = batch.tensors["target_weights"], batch.tensors["target_ids"]
    predicted = np.bincount(targets[weights > 0], minlength=vocabulary.size)
    starts, lengths = real_store.document_ranges
    expected = np.bincount(real_store.tokens(starts, lengths), minlength=vocabulary.size)
    expected[vocabulary.special_id("sep")] += starts.size
    if kind == "unstarted":
        expected -= np.bincount(
            real_store.tokens(starts, np.ones_like(starts)), minlength=vocabulary.size
        )
    if kind == "joined":
        # No token precedes the very first one.
        expected[int(real_store.tokens(starts[:1], np.ones(1, np.int64))[0])] -= 1
    assert np.array_equal(predicted, expected)
    assert batch.counts == {"predicted": int(weights.sum())}


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_are_the_targets_one_position_earlier(
    real_store: TokenStore, real_text: RealText, kind: str
) -> None:
    tensors = whole(KINDS[kind], real_store, real_text.tokenizer.vocabulary).tensors
    example = tensors["example_ids"]
    inside = (example[:, 1:] == example[:, :-1]) & (example[:, 1:] > 0)
    assert (tensors["input_ids"][:, 1:] == tensors["target_ids"][:, :-1])[inside].all()
    assert np.array_equal(tensors["target_weights"] > 0, example > 0), "padding is no target"


def test_joined_rows_are_full(real_store: TokenStore, real_text: RealText) -> None:
    tensors = whole(KINDS["joined"], real_store, real_text.tokenizer.vocabulary).tensors
    filled = np.sort((tensors["example_ids"] > 0).sum(axis=1))
    assert (filled[1:] == LENGTH).all(), "all but one row"


def test_joined_documents_need_no_start_token() -> None:
    assert KINDS["started"].special_roles == ("pad", "bos", "eos")
    for kind in ("unstarted", "joined"):
        assert KINDS[kind].special_roles == ("pad", "eos")


def test_an_unknown_key_is_rejected() -> None:
    with pytest.raises(ValidationError, match="unknown key"):
        Lm(type="lm", unknown=True)  # type: ignore[call-arg]
