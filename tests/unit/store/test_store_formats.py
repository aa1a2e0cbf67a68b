"""Stores of format 2, and those of format 1 that earlier versions wrote."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ptm.errors import UserError
from ptm.store.format import MANIFEST
from ptm.store.reader import TokenStore
from tests.support.format1_stores import rewrite_as_format1

if TYPE_CHECKING:
    from tests.conftest import BuildStore

each_format = pytest.mark.parametrize("number", [1, 2])


def types_of(store: TokenStore) -> dict[str, str]:
    return {section.name: section.dtype for section in store.info.shards[0].sections}


@pytest.fixture
def small(build_store: BuildStore, tmp_path: Path, tiny_vocab: Path) -> TokenStore:
    text = "a b c\nb\n\nc a\n"
    return build_store(tmp_path / "small", text, vocab=tiny_vocab, layout="sentences")


def opened(store: TokenStore, number: int) -> TokenStore:
    """The same store in format `number`."""
    if number == 1:
        rewrite_as_format1(store.folder)
    return TokenStore.open(store.folder)


def overwrite(store: TokenStore, name: str, values: list[int]) -> None:
    """Replace the first items of a section, without a new checksum."""
    shard = store.info.shards[0]
    section = next(one for one in shard.sections if one.name == name)
    with (store.folder / shard.file).open("r+b") as file:
        file.seek(section.offset)
        file.write(np.array(values, dtype=section.dtype).tobytes())


# What both formats hold


def test_a_store_of_format_1_has_the_content_of_one_of_format_2(
    real_store: TokenStore, tmp_path: Path
) -> None:
    shutil.copytree(real_store.folder, tmp_path / "store")
    rewrite_as_format1(tmp_path / "store")
    old = TokenStore.open(tmp_path / "store")
    old.verify()
    assert types_of(old)["sentence_ends"] == "<i8"
    for one, other in (
        *zip(old.document_ranges, real_store.document_ranges, strict=True),
        *zip(old.sentence_ranges, real_store.sentence_ranges, strict=True),
        (old.document_hashes, real_store.document_hashes),
        (old.tokens(*old.document_ranges), real_store.tokens(*real_store.document_ranges)),
        (
            old.word_starts(*old.document_ranges),
            real_store.word_starts(*real_store.document_ranges),
        ),
    ):
        assert one.dtype == other.dtype
        assert (one == other).all()


@each_format
def test_documents_and_sentences_are_found(small: TokenStore, number: int) -> None:
    store = opened(small, number)
    starts, lengths = store.document_ranges
    assert (starts.tolist(), lengths.tolist()) == ([0, 4], [4, 2])
    starts, lengths, counts = store.sentence_ranges
    assert (starts.tolist(), lengths.tolist()) == ([0, 3, 4], [3, 1, 2])
    assert counts.tolist() == [2, 1]


@pytest.mark.parametrize(("longest", "dtype"), [(255, "|u1"), (256, "<u2"), (70_000, "<u4")])
def test_lengths_have_the_smallest_type_that_holds_them(
    build_store: BuildStore, tmp_path: Path, tiny_vocab: Path, longest: int, dtype: str
) -> None:
    store = build_store(tmp_path, "a\n" + "b " * longest + "\n", vocab=tiny_vocab)
    assert types_of(store)["sentence_lengths"] == dtype
    assert types_of(store)["document_lengths"] == "|u1"
    assert store.document_ranges[1].tolist() == [1, longest]


# Damage


@each_format
def test_a_changed_byte_of_the_lengths_is_found_by_the_checksum(
    small: TokenStore, number: int
) -> None:
    store = opened(small, number)
    overwrite(store, "sentence_ends" if number == 1 else "sentence_lengths", [2])
    with pytest.raises(UserError, match="the checksum differs"):
        store.verify()


@pytest.mark.parametrize(
    ("number", "name", "values"),
    [
        (1, "sentence_ends", [2**40]),
        (1, "sentence_ends", [4, 3]),
        (1, "document_ends", [0]),
        (2, "sentence_lengths", [0, 4]),
        (2, "sentence_lengths", [4]),
        (2, "document_lengths", [3]),
        (2, "document_lengths", [0, 3]),
    ],
)
def test_lengths_that_do_not_add_up_are_an_error_although_nothing_was_verified(
    small: TokenStore, number: int, name: str, values: list[int]
) -> None:
    store = opened(small, number)
    overwrite(store, name, values)
    what = name.partition("_")[0]
    with pytest.raises(UserError, match=rf"shard-\S+: the lengths of its {what}s do not add up"):
        _ = store.document_ranges


def edit(store: TokenStore, **changes: Any) -> None:
    path = store.folder / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}))


def test_sections_of_another_format_are_rejected(small: TokenStore) -> None:
    edit(small, format=1)
    with pytest.raises(UserError, match=r"its sections are tokens, sentence_lengths, "):
        TokenStore.open(small.folder)


def test_a_later_format_is_an_error_that_names_those_that_are_read(small: TokenStore) -> None:
    edit(small, format=3)
    with pytest.raises(UserError, match=r"has format 3, .* reads the formats 1 to 2\."):
        TokenStore.open(small.folder)
