from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ptm.errors import UserError
from ptm.store.reader import TokenStore
from ptm.store.sections import document_hashes
from ptm.text.corpus import Layout
from ptm.text.segmenters.rjieba import RJieba
from ptm.text.words import WordStartEncoder

if TYPE_CHECKING:
    from tests.conftest import BuildStore, RealText


def documents_of(store: TokenStore) -> list[list[int]]:
    starts, lengths = store.document_ranges
    ends = np.cumsum(lengths)
    tokens = store.tokens(starts, lengths)
    return [part.tolist() for part in np.split(tokens, ends[:-1])]


@pytest.fixture
def small_store(
    build_store: BuildStore, tmp_path: Path, tiny_vocab: Path
) -> Callable[[str], TokenStore]:
    return lambda text: build_store(tmp_path / "small", text, vocab=tiny_vocab)


# Round trips


@pytest.mark.parametrize("layout", ["documents", "sentences"])
def test_a_store_returns_the_ids_of_every_document(
    real_text: RealText, build_store: BuildStore, tmp_path: Path, layout: Layout
) -> None:
    text = real_text.as_layout(layout)
    store = build_store(tmp_path, text, vocab=real_text.vocab, layout=layout)
    separator = "\n" if layout == "documents" else "\n\n"
    expected = [
        [token for ids in real_text.tokenizer.encode(document.split("\n")) for token in ids]
        for document in text.strip("\n").split(separator)
    ]
    assert documents_of(store) == [ids for ids in expected if ids]


def test_a_store_returns_the_word_starts_of_every_document(
    real_text: RealText, real_store: TokenStore
) -> None:
    encoder = WordStartEncoder(real_text.tokenizer, RJieba(type="rjieba"))
    _, _, expected = encoder.encode(real_text.documents)
    starts, lengths = real_store.document_ranges
    assert real_store.word_starts(starts, lengths).tolist() == expected.tolist()


def test_tokens_follow_the_order_of_the_ranges(real_store: TokenStore) -> None:
    starts, lengths = real_store.document_ranges
    shuffled = np.random.default_rng(0).permutation(starts.size)
    whole = real_store.tokens(starts, lengths)
    expected = np.concatenate([whole[starts[i] : starts[i] + lengths[i]] for i in shuffled])
    assert (real_store.tokens(starts[shuffled], lengths[shuffled]) == expected).all()


def test_without_ranges_there_are_no_tokens(real_store: TokenStore) -> None:
    none = np.empty(0, dtype=np.int64)
    assert real_store.tokens(none, none).size == 0


def test_sentences_are_counted(build_store: BuildStore, tmp_path: Path, tiny_vocab: Path) -> None:
    store = build_store(tmp_path, "a\nb c\n\nd\n", vocab=tiny_vocab, layout="sentences")
    assert (store.info.documents, store.info.tokens) == (2, 4)
    assert sum(shard.sentences for shard in store.info.shards) == 3


def test_a_document_without_tokens_is_left_out_and_counted(
    small_store: Callable[[str], TokenStore],
) -> None:
    store = small_store("a\n\u200b\nb\n")
    assert store.info.documents == 2
    assert store.info.report["empty_documents"] == 1


def test_the_largest_ids_of_a_large_vocabulary_are_stored(
    build_store: BuildStore, tmp_path: Path
) -> None:
    tokens = ["[PAD]", "[UNK]", *(f"w{number}" for number in range(70_000))]
    vocab = tmp_path / "vocab.txt"
    vocab.write_text("\n".join(tokens))
    store = build_store(tmp_path, "w69999 w0\n", vocab=vocab)
    assert documents_of(store) == [[70_001, 2]]


def test_equal_documents_have_equal_hashes_and_others_do_not() -> None:
    tokens = np.array([1, 2, 1, 2, 1, 2, 3, 1], dtype=np.uint16)
    hashes = document_hashes(tokens, [2, 4, 7, 8])
    assert hashes[0] == hashes[1]
    assert len(set(hashes.tolist())) == 3


# Damage


def test_a_missing_store_is_an_error_that_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"does not exist.*ptm preprocess"):
        TokenStore.open(tmp_path / "store")


def test_a_folder_without_a_manifest_is_not_a_store(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no store\.json"):
        TokenStore.open(tmp_path)


def test_a_truncated_shard_is_an_error_that_names_it(
    small_store: Callable[[str], TokenStore],
) -> None:
    store = small_store("a b c\n")
    shard = store.folder / store.info.shards[0].file
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(
        UserError, match=rf"{shard.name}: the shard has {shard.stat().st_size} bytes"
    ):
        TokenStore.open(store.folder)


def test_a_missing_shard_is_an_error_that_names_it(
    small_store: Callable[[str], TokenStore],
) -> None:
    store = small_store("a b c\n")
    shard = store.folder / store.info.shards[0].file
    shard.unlink()
    with pytest.raises(UserError, match=rf"{shard.name}: the shard is missing"):
        TokenStore.open(store.folder)


def test_a_changed_byte_is_found_by_its_checksum(small_store: Callable[[str], TokenStore]) -> None:
    store = small_store("a b c\n")
    store.verify()
    shard = store.folder / store.info.shards[0].file
    data = bytearray(shard.read_bytes())
    data[0] ^= 1
    shard.write_bytes(bytes(data))
    with pytest.raises(UserError, match=rf"{shard.name}: the checksum differs"):
        TokenStore.open(store.folder).verify()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 1}'])
def test_a_damaged_manifest_is_an_error(
    small_store: Callable[[str], TokenStore], text: str
) -> None:
    store = small_store("a b c\n")
    (store.folder / "store.json").write_text(text)
    with pytest.raises(UserError, match=r"store\.json: the file is damaged"):
        TokenStore.open(store.folder)


def test_a_store_of_another_format_is_an_error(small_store: Callable[[str], TokenStore]) -> None:
    store = small_store("a b c\n")
    manifest = store.folder / "store.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 0}))
    with pytest.raises(UserError, match=r"format 0.*ptm preprocess"):
        TokenStore.open(store.folder)
