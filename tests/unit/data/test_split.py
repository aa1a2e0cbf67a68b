from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptm.data.documents import held_out_documents
from ptm.store.reader import TokenStore

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import BuildStore, RealText

HASHES = st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 5), min_size=1, max_size=50).map(
    lambda hashes: np.array(hashes, dtype=np.uint64)
)
SHARES = st.floats(0.001, 0.999)


@given(hashes=HASHES, share=SHARES)
def test_copies_of_a_document_are_in_the_same_split(hashes: np.ndarray, share: float) -> None:
    held_out = held_out_documents(hashes, share)
    assert not set(hashes[held_out].tolist()) & set(hashes[~held_out].tolist())


@given(hashes=HASHES, share=SHARES)
def test_the_share_counts_distinct_documents_and_holds_out_at_least_one(
    hashes: np.ndarray, share: float
) -> None:
    held_out = len(set(hashes[held_out_documents(hashes, share)].tolist()))
    distinct = len(set(hashes.tolist()))
    assert held_out >= 1
    assert abs(held_out - share * distinct) <= max(0.5, 1 - share * distinct)


@given(hashes=HASHES, share=SHARES)
def test_the_split_does_not_depend_on_the_order(hashes: np.ndarray, share: float) -> None:
    backwards = held_out_documents(hashes[::-1], share)[::-1]
    assert (backwards == held_out_documents(hashes, share)).all()


@given(hashes=HASHES, shares=st.tuples(SHARES, SHARES))
def test_a_larger_share_includes_the_documents_of_a_smaller_one(
    hashes: np.ndarray, shares: tuple[float, float]
) -> None:
    less, more = (held_out_documents(hashes, share) for share in sorted(shares))
    assert (more | ~less).all()


def test_a_share_of_zero_holds_out_nothing() -> None:
    assert not held_out_documents(np.arange(5, dtype=np.uint64), 0.0).any()


@pytest.mark.parametrize("share", [0.01, 0.1])
def test_the_share_of_real_documents_is_exact(real_store: TokenStore, share: float) -> None:
    hashes = np.unique(real_store.document_hashes)
    held_out = held_out_documents(real_store.document_hashes, share)
    distinct = np.unique(real_store.document_hashes[held_out]).size
    assert distinct == round(share * hashes.size)


def test_held_out_documents_are_spread_over_the_corpus(real_store: TokenStore) -> None:
    held_out = held_out_documents(real_store.document_hashes, 0.1)
    half = held_out.size // 2
    assert abs(held_out[:half].mean() - held_out[half:].mean()) < 0.06


def test_copies_in_a_real_corpus_are_in_the_same_split(
    real_text: RealText, build_store: BuildStore, tmp_path: Path
) -> None:
    text = "\n".join([*real_text.documents[:200], *real_text.documents[100:300]]) + "\n"
    store = build_store(tmp_path, text, vocab=real_text.vocab)
    held_out = held_out_documents(store.document_hashes, 0.2)
    assert (held_out[100:200] == held_out[200:300]).all()
    assert held_out[100:200].any()
