"""Corpora that would cost too much memory or time, and files that are no plain text."""

from __future__ import annotations

import gzip
import os
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from ptm.errors import UserError
from ptm.limits import LONGEST_LINE
from ptm.text.corpus import Block, CorpusReader, Layout, find_corpus
from tests.support.corpora import recognised

MB = 2**20
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": lambda data: gzip.compress(data, 1),
    ".zst": zstandard.ZstdCompressor().compress,
}


def blocks(path: Path, *, layout: Layout = "documents", size: int = 2**18) -> Iterator[Block]:
    (file,) = find_corpus([str(path)])
    return CorpusReader(file, index=0, layout=layout, block_bytes=size).blocks()


@pytest.mark.parametrize("layout", ["documents", "sentences", "pairs"])
@pytest.mark.parametrize("size", [2**18, 2**25], ids=["over blocks", "in a block"])
def test_a_line_over_the_limit_is_rejected_by_its_number(
    tmp_path: Path, layout: Layout, size: int
) -> None:
    path = tmp_path / "corpus.txt"
    long = b"x" * LONGEST_LINE
    path.write_bytes(b"one\n\ntwo\n" + long + b"\n\n" + b"three\n")
    assert sum(len(block.data) for block in blocks(path, layout=layout, size=size)) > LONGEST_LINE
    path.write_bytes(b"one\n\ntwo\n" + long + b"x\n\n" + b"three\n")
    with pytest.raises(UserError, match=r"corpus\.txt:4: the line is longer than 4 MB"):
        list(blocks(path, layout=layout, size=size))


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("layout", ["documents", "sentences"])
def test_a_long_line_that_a_small_file_unpacks_to_takes_little_memory(
    tmp_path: Path, suffix: str, layout: Layout
) -> None:
    path = tmp_path / f"corpus.txt{suffix}"
    path.write_bytes(COMPRESS[suffix](b"first\n\n" + b"x" * (150 * MB)))
    assert path.stat().st_size < MB
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=r":3: the line is longer than 4 MB"):
            list(blocks(path, layout=layout))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # zstd packs 128 KB into a few bytes, and they come out at once.
    assert most < (60 * MB if suffix == ".zst" else 25 * MB)


def test_compressed_newlines_become_few_blocks(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt.gz"
    path.write_bytes(gzip.compress(b"\n" * (100 * MB), 1))
    count = 0
    for block in blocks(path):
        assert len(block.data) <= 8 * MB
        count += 1
    assert count < 200


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(UserError, match="is a FIFO or a device"):
            find_corpus([str(path)])


JSON = '{"id": 1, "text": "a b"}\n{"id": 2, "text": "c"}\n'
TABLE = "label\ttext_a\n1\ta b c\n0\td\n"


@pytest.mark.parametrize("layout", ["documents", "sentences"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (JSON, r"JSON objects \(fields: id, text\).*Set data\.text_field: text"),
        (f"\n{JSON}", r"JSON objects"),
        ('{"content": "a"}\r\n', r"Set data\.text_field: content"),
        (
            TABLE,
            r":1: the file is a table .* label, text_a,.*text_field: text_a.*data.layout: labelled",
        ),
        ("source\ttarget\na\tb\n", r"source, target,.*data\.layout: pairs"),
        ("Label\tText A\tText B\r\n1\ta\tb\r\n", r"the columns Label, Text A, Text B"),
    ],
)
def test_files_that_are_no_plain_text_are_rejected(
    tmp_path: Path, layout: Layout, text: str, message: str
) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text(text, encoding="utf-8", newline="")
    with pytest.raises(UserError, match=message):
        recognised(path, layout)


@pytest.mark.parametrize(
    "text",
    [
        "{a} is a set\n{b} too\n",
        '{"a": 1}\nfollowed by text\n',
        "[1, 2]\n",
        "text\n",
        "the text\twith a tab\nand none\n",
        "label\ttext\nno tab\n",
        "1\ta\n2\tb\n",
        "Wort\tBegriff\na\tb\n",
    ],
)
def test_texts_that_look_a_little_like_them_are_not(tmp_path: Path, text: str) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text(text, encoding="utf-8")
    assert recognised(path).format == "text"


def test_a_table_of_pairs_is_left_to_its_layout(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text("source\ttarget\na\tb\n", encoding="utf-8")
    assert recognised(path, "pairs").format == "text"


@pytest.mark.parametrize(("layout", "key"), [("pairs", "source"), ("labelled", "label")])
def test_json_lines_of_pairs_and_labels_are_an_error_that_names_the_key(
    tmp_path: Path, layout: Layout, key: str
) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text(JSON, encoding="utf-8")
    with pytest.raises(UserError, match=rf"JSON objects.*Set data\.fields: {{{key}: NAME, t"):
        recognised(path, layout)


@pytest.mark.parametrize(
    ("data", "size", "first"),
    [(b"a\n\nb\nc\n", 2, b"a\n\n"), (b"a\r\n\r\nb\nc\n", 4, b"a\r\n\r\n")],
    ids=["newlines", "CR LF"],
)
def test_a_boundary_is_found_across_two_reads(
    tmp_path: Path, data: bytes, size: int, first: bytes
) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes(data)
    found = [block.data for block in blocks(path, layout="sentences", size=size)]
    assert found[0] == first
    assert b"".join(found) == data


def test_lines_of_a_document_are_measured_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    data = b"a\n\n" + b"y" * (3 * MB) + b"\n" + b"x" * (3 * MB + 100) + b"\n"
    path.write_bytes(data)
    found = blocks(path, layout="sentences", size=3 * MB + 8)
    assert b"".join(block.data for block in found) == data
