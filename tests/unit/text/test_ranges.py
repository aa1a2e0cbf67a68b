"""Ranges of plain files: where they are cut, and what is read."""

from __future__ import annotations

import gzip
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptm.errors import UserError
from ptm.text.corpus import BlockRange, CorpusReader, Layout, parse_lines
from ptm.text.corpus.parse import parse
from ptm.text.labels import LabelSet
from tests.support.corpora import recognised

LAYOUTS: tuple[Layout, ...] = ("documents", "sentences")
WIDE = 9_000
"""Characters of a line that is longer than what is searched for a cut at first."""
SHORT = (b"a", "中文".encode(), b" ", b"", b"\r", b"\xff\xfe", b"n\0l", b"\x1c", b"\xe3\x80")
LONG = (b"x" * WIDE, b" " * WIDE, b"y" * 40_000, "\u3000".encode() * WIDE, b"", b"z", b"\n" * WIDE)


def reader(path: Path, layout: Layout, size: int, *, encoding: str = "utf-8") -> CorpusReader:
    file = recognised(path, layout, encoding=encoding)
    return CorpusReader(file, index=0, layout=layout, block_bytes=size)


def ranges_of(
    path: Path, layout: Layout, size: int, *, encoding: str = "utf-8"
) -> list[BlockRange]:
    found = reader(path, layout, size, encoding=encoding).ranges()
    assert found is not None, "the file has no ranges"
    return list(found)


def assert_same_blocks(folder: Path, text: bytes, layout: Layout, size: int) -> None:
    """Compressed text is cut while it is read from the beginning."""
    (folder / "corpus.txt").write_bytes(text)
    (folder / "corpus.txt.gz").write_bytes(gzip.compress(text, 0))
    plain, packed = (
        [
            (block.number, block.first_line, block.data)
            for block in reader(folder / name, layout, size).blocks()
        ]
        for name in ("corpus.txt", "corpus.txt.gz")
    )
    assert plain == packed


@pytest.mark.parametrize("layout", LAYOUTS)
@given(
    lines=st.lists(st.sampled_from(SHORT), min_size=2, max_size=12),
    size=st.integers(1, 40),
    end=st.sampled_from([b"\n", b"\r\n"]),
    mark=st.booleans(),
)
@settings(max_examples=60)
def test_the_blocks_are_those_of_the_compressed_file(
    tmp_path_factory: pytest.TempPathFactory,
    layout: Layout,
    lines: list[bytes],
    size: int,
    end: bytes,
    mark: bool,
) -> None:
    text = b"\xef\xbb\xbf" * mark + end.join([b"first", *lines])
    assert_same_blocks(tmp_path_factory.mktemp("ranges", numbered=True), text, layout, size)


@pytest.mark.parametrize("layout", LAYOUTS)
@given(
    lines=st.lists(st.sampled_from(LONG), min_size=2, max_size=12),
    size=st.integers(5_000, 60_000),
    end=st.sampled_from([b"\n", b"\r\n"]),
)
@settings(max_examples=30)
def test_the_blocks_are_those_of_the_compressed_file_if_lines_are_long(
    tmp_path_factory: pytest.TempPathFactory,
    layout: Layout,
    lines: list[bytes],
    size: int,
    end: bytes,
) -> None:
    folder = tmp_path_factory.mktemp("ranges", numbered=True)
    assert_same_blocks(folder, end.join([b"first", *lines]), layout, size)


# Bytes of a line end inside and between characters of UTF-16, in both byte orders.
HALVES = "\u0a0a\u010a\u0a41\u0a00\u0d0d\u0d0a\u0a0d\u0100\u0a05\u000b"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        *[(name, f"{HALVES}a") for name in ("utf-16", "utf-16-le", "utf-16-be", "utf-8")],
        *[("gb18030", "春眠不觉晓，\u3000𠀀"), ("shift_jis", "これは日本語\u3000ソ表")],
        *[("iso2022_jp", "これは日本語\u3000"), ("iso8859-1", "Où naît\xa0la forêt")],
    ],
)
def test_ranges_in_any_encoding_have_the_documents_of_the_whole_text(
    tmp_path: Path, layout: Layout, end: str, encoding: str, text: str
) -> None:
    blank = {"iso8859-1": "\xa0", "utf-8": "\u2003", "utf-16": "\u2003"}.get(encoding, " ")
    lines = [text * (number % 5) if number % 7 else blank for number in range(1, 60)]
    path = tmp_path / "corpus.txt"
    path.write_bytes(end.join(lines).encode(encoding))
    expected = parse_lines("\n".join(lines).encode(), layout)
    for size in (3, 64, 301):
        blocks = [one.read() for one in ranges_of(path, layout, size, encoding=encoding)]
        parsed = [parse_lines(block.data, layout) for block in blocks]
        assert len(blocks) > (30 if size == 3 and layout == "documents" else 3)
        found = [document for one in parsed for document in one.documents]
        assert found == expected.documents
        assert sum(one.lines for one in parsed) == expected.lines
        assert sum(one.blank for one in parsed) == expected.blank


def test_a_line_end_of_cr_lf_is_not_cut_in_a_file_of_cr(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    # The first 256 KB have CR alone, which therefore ends the lines of the whole file.
    path.write_bytes(b"a line\r" * 40_000 + b"b\r\n" * 20_000)
    expected = b"a line\n" * 40_000 + b"b\n" * 20_000
    for size in (4_000, 4_001, 4_002):
        blocks = [one.read() for one in ranges_of(path, "documents", size)]
        assert b"".join(block.data for block in blocks) == expected


def test_a_range_that_is_numbered_names_the_lines_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes("\n".join(f"第{number}行" for number in range(1, 500)).encode("gb18030"))
    blocks = [one.numbered() for one in ranges_of(path, "documents", 100, encoding="gb18030")]
    assert len(blocks) > 20
    for block in blocks:
        assert block.data.decode().startswith(f"第{block.first_line}行")


@pytest.mark.parametrize("blank", [0, 200, 300_000])
def test_the_header_is_skipped_in_its_range_alone(tmp_path: Path, blank: int) -> None:
    path = tmp_path / "corpus.txt"
    # Lines of later ranges, counted from their begin, have the number of the header too.
    lines = ["label\ttext", *(f"{number % 2}\ttext {number}" for number in range(100_000))]
    path.write_text("\n" * blank + "\n".join(lines), encoding="utf-8")
    labels = LabelSet(("0", "1"))
    size = 100_000 if blank > 200 else 2_000
    found = [parse(one.read(), "labelled", labels) for one in ranges_of(path, "labelled", size)]
    texts = [text for one in found for (text,) in one.documents]
    assert texts == [f"text {number}" for number in range(100_000)]


def test_few_bytes_are_read_to_name_the_ranges(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes((b"a line of a document\n" * 5 + b"\n") * 200_000)
    counted = reader(path, "sentences", 2**18)
    process = psutil.Process()
    if not hasattr(process, "io_counters"):
        pytest.skip("the bytes that a process reads are not counted on this system")
    before = process.io_counters().read_chars
    ranges = list(counted.ranges() or ())
    read = process.io_counters().read_chars - before
    assert sum(one.length for one in ranges) == path.stat().st_size > 20_000_000
    assert read < 2_000_000


def test_a_long_line_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes(b"a line\n" * 200_000 + b"x" * (2**22 + 1) + b"\n" + b"a line\n" * 900_000)
    with pytest.raises(UserError, match=r"corpus\.txt:200001: the line is longer than 4 MB"):
        list(reader(path, "sentences", 2**18).blocks())
    first, *_ = ranges_of(path, "documents", 2**22 + 2**21)
    with pytest.raises(UserError, match=r"corpus\.txt:200001: the line is longer than 4 MB"):
        first.numbered()
