"""Source-target pairs as examples: the tokens of each side that fit into a row."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptm.data.documents import Documents
from ptm.data.two_sides import share_budget, side_lengths, truncate
from ptm.errors import UserError
from ptm.store.reader import TokenStore

if TYPE_CHECKING:
    from tests.conftest import BuildStore

# Source and target lengths: (1, 3), (4, 1), (2, 2).
TEXT = "a\tb c d\nf g h i\tj\nk l\tm n\n"


@pytest.fixture
def store(build_store: BuildStore, tmp_path: Path, tiny_vocab: Path) -> TokenStore:
    return build_store(tmp_path / "pairs", TEXT, vocab=tiny_vocab, layout="pairs")


@pytest.fixture
def words(tiny_vocab: Path) -> Callable[[np.ndarray], str]:
    tokens = tiny_vocab.read_text(encoding="utf-8").splitlines()
    return lambda ids: "".join(tokens[int(token)] for token in ids)


def test_whole_sides_are_read_in_any_order(
    store: TokenStore, words: Callable[[np.ndarray], str]
) -> None:
    sentences = Documents(store).sentences
    examples = truncate(sentences, side_lengths(sentences))
    texts = examples.texts(store, np.array([2, 0, 1]))
    assert words(texts.tokens) == "klmn" + "abcd" + "fghij"
    assert texts.part_lengths.tolist() == [[2, 2], [1, 3], [4, 1]]
    assert examples.lengths.tolist() == [4, 5, 4]
    assert examples.left_out == {}


def test_sides_are_truncated_at_their_ends_and_counted(
    store: TokenStore, words: Callable[[np.ndarray], str]
) -> None:
    sentences = Documents(store).sentences
    examples = truncate(sentences, np.minimum(side_lengths(sentences), [2, 1]))
    texts = examples.texts(store, np.arange(3))
    assert words(texts.tokens) == "ab" + "fgj" + "klm"
    assert examples.left_out == {
        "source tokens cut off (pairs too long for a row: 1)": 2,
        "target tokens cut off (pairs too long for a row: 2)": 3,
    }


def test_chosen_pairs_stay_whole(store: TokenStore, words: Callable[[np.ndarray], str]) -> None:
    sentences = Documents(store, np.array([False, True, False])).sentences
    examples = truncate(sentences, side_lengths(sentences))
    assert words(examples.texts(store, np.array([0])).tokens) == "fghij"


def test_a_token_id_outside_the_vocabulary_of_its_side_is_an_error(store: TokenStore) -> None:
    manifest = store.folder / "store.json"
    data = json.loads(manifest.read_text())
    # The third target has the token ids 19 and 20.
    data |= {"target_tokenizer": "another", "target_vocabulary_size": 19}
    manifest.write_text(json.dumps(data))
    damaged = TokenStore.open(store.folder)
    sentences = Documents(damaged).sentences
    examples = truncate(sentences, side_lengths(sentences))
    with pytest.raises(UserError, match="contains token id 20, but its vocabulary has 19 tokens"):
        examples.texts(damaged, np.array([2]))


# Sharing the room of a row


def test_room_that_one_side_does_not_need_goes_to_the_other() -> None:
    lengths = np.array([[1, 9], [9, 1], [9, 9], [3, 3], [4, 4]])
    assert share_budget(lengths, 7).tolist() == [[1, 6], [6, 1], [4, 3], [3, 3], [4, 3]]


@given(
    lengths=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1),
    room=st.integers(2, 60),
)
def test_pairs_are_truncated_only_if_too_long_and_no_side_becomes_empty(
    lengths: list[tuple[int, int]], room: int
) -> None:
    kept = share_budget(np.array(lengths), room)
    assert (kept >= 1).all()
    assert (kept.sum(axis=1) == np.minimum(np.sum(lengths, axis=1), room)).all()
