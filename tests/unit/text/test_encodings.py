"""Corpora in other encodings than UTF-8, and their line ends."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest

from ptm.errors import UserError
from ptm.limits import LONGEST_LINE
from ptm.text.corpus import CorpusReader, Layout, find_corpus, parse_lines
from ptm.text.corpus.encodings import ENCODINGS, canonical_encoding, detect_encoding
from tests.support.corpora import FORMATS, documents, recognised

CHINESE = "春眠不觉晓，处处闻啼鸟。\n夜来风雨声，花落知多少。\n\n床前明月光，疑是地上霜。\n"
JAPANESE = "これは日本語の文章です。\n東京に行きました。\n\n本を読むのが好きです。\n"
KOREAN = "안녕하세요 저는 학생입니다.\n오늘 날씨가 좋네요.\n\n서울에 갑니다.\n"
FRENCH = "Le château était élevé.\nÇa va à Nîmes.\n\nOù naît la forêt ?\n"
TRADITIONAL = "舉頭望明月，低頭思故鄉。\n千山鳥飛絕，萬徑人蹤滅。\n\n孤舟蓑笠翁，獨釣寒江雪。\n"

WRITTEN = [
    *[("gb18030", CHINESE), ("gbk", CHINESE), ("utf-16", CHINESE), ("utf-16-le", CHINESE)],
    *[("utf-16-be", CHINESE), ("utf-8-sig", CHINESE), ("big5", TRADITIONAL)],
    *[("gb18030", f"\ufeff{CHINESE}"), ("utf-16-le", f"\ufeff{CHINESE}")],
    *[("shift_jis", JAPANESE), ("euc-jp", JAPANESE), ("iso-2022-jp", JAPANESE)],
    *[("euc-kr", KOREAN), ("cp949", KOREAN), ("latin-1", FRENCH), ("cp1252", FRENCH)],
]
SIZES = (1, 7, 2**18)


def read(
    path: Path, encoding: str, layout: Layout = "sentences", size: int = 2**18
) -> list[list[str]]:
    return documents(path, layout, block_bytes=size, encoding=canonical_encoding(encoding))


@pytest.mark.parametrize(("encoding", "text"), WRITTEN)
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("layout", ["documents", "sentences"])
def test_every_encoding_and_line_end_gives_the_documents_of_utf_8(
    tmp_path: Path, encoding: str, text: str, ends: str, layout: Layout
) -> None:
    (tmp_path / "utf8.txt").write_bytes(text.encode())
    (tmp_path / "corpus.txt").write_bytes(text.replace("\n", ends).encode(encoding))
    expected = read(tmp_path / "utf8.txt", "utf-8", layout)
    for size in SIZES:
        assert read(tmp_path / "corpus.txt", encoding, layout, size) == expected


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".tsv"])
def test_records_may_be_in_any_encoding(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"corpus{suffix}.gz"
    records = [{"id": n, "text": f"{n} {CHINESE}"} for n in range(10)]
    path.write_bytes(gzip.compress(FORMATS[suffix](records).decode().encode("gb18030")))
    expected = [[str(one["text"]).strip()] for one in records]
    assert read(path, "gb18030", "documents", 40) == expected


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_that_is_listed_keeps_lines_apart(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes("one\ntwo\r\n\nthree".encode(encoding))
    assert canonical_encoding(encoding) == encoding
    for size in SIZES:
        assert read(path, encoding, "documents", size) == [["one"], ["two"], ["three"]]


@pytest.mark.parametrize(
    ("name", "canonical"),
    [("UTF8", "utf-8"), ("latin1", "iso8859-1"), ("GBK", "gbk"), ("sjis", "shift_jis")],
)
def test_an_encoding_has_the_names_that_python_knows(name: str, canonical: str) -> None:
    assert canonical_encoding(name) == canonical


@pytest.mark.parametrize("name", ["gb18300", "base64", "utf-7", "idna", "", "a\0b"])
def test_an_unknown_encoding_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="is not an encoding that ptm reads"):
        canonical_encoding(name)


def test_a_misspelled_encoding_has_a_suggestion() -> None:
    with pytest.raises(ValueError, match=r'Did you mean "gb18030"\?'):
        canonical_encoding("gb18003")


# Damaged text


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("encoding", "damage"),
    [("gb18030", b"\xff"), ("gb18030", b"a\x81"), ("big5", b"\xa4"), ("utf-16-le", b"\x00\xd8")],
)
def test_a_line_that_cannot_be_decoded_is_left_out_and_counted(
    tmp_path: Path, encoding: str, damage: bytes, size: int
) -> None:
    path = tmp_path / "corpus.txt"
    line = "文\n".encode(encoding)
    end = "\n".encode(encoding)
    path.write_bytes(line + damage + end + line + line)
    file = recognised(path, encoding=encoding)
    reader = CorpusReader(file, index=0, layout="documents", block_bytes=size)
    parsed = [parse_lines(block.data, "documents") for block in reader.blocks()]
    assert [one for part in parsed for one in part.documents] == [["文"]] * 3
    assert sum(part.lines for part in parsed) == 4
    assert sum(part.invalid for part in parsed) == 1


def test_damage_takes_neither_quotes_nor_line_ends_with_it(tmp_path: Path) -> None:
    path = tmp_path / "corpus.csv"
    rows = b'id,text\n1,"a\nb\xff"\n\xff,"c"\n3,"d\x81\ne"\n4,f\n'
    path.write_bytes(rows)
    # Of the first and the third record the text is damaged, of the second another field.
    assert read(path, "gb18030", "documents") == [["c"], ["f"]]


def test_a_file_that_ends_in_the_middle_of_a_character_has_an_invalid_line(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    for encoding in ("utf-16-le", "gb18030"):
        path.write_bytes("文\n文".encode(encoding)[:-1])
        assert read(path, encoding, "documents") == [["文"]]


@pytest.mark.parametrize(
    ("encoding", "data", "message"),
    [
        ("utf-16", "text\n".encode("utf-16-le"), r"no byte-order mark.*utf-16-le or utf-16-be"),
        ("gb18030", "text\n".encode("utf-16"), r"is UTF-16 text.*Set data\.encoding: utf-16"),
    ],
)
def test_a_byte_order_mark_that_does_not_fit_is_an_error(
    tmp_path: Path, encoding: str, data: bytes, message: str
) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes(data)
    with pytest.raises(UserError, match=message):
        read(path, encoding)


def test_a_long_line_in_another_encoding_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes("一\n".encode("gb18030") + "文".encode("gb18030") * LONGEST_LINE * 8)
    with pytest.raises(UserError, match=r"corpus.txt:2: the line is longer than 4 MB"):
        read(path, "gb18030")


# Line ends


def test_a_cr_inside_a_line_of_a_file_with_lf_is_white_space(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes(b"a\rb\nc\n")
    assert read(path, "utf-8", "documents") == [["a\rb"], ["c"]]


@pytest.mark.parametrize("size", [0, 1, 2, 3])
def test_cr_and_cr_lf_are_translated_at_any_block_size(tmp_path: Path, size: int) -> None:
    path = tmp_path / "corpus.txt"
    # The first 256 KB decide. The rest is read in pieces, which end between CR and LF too.
    data = b"first\r" * 2**16 + b"x\r\n" * 2**17 + b"\r\r\n"
    path.write_bytes(data)
    (file,) = find_corpus([str(path)])
    reader = CorpusReader(file, index=0, layout="documents", block_bytes=2**18 + size)
    found = b"".join(block.data for block in reader.blocks())
    assert found == data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


# Detection


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        *[("gb18030", CHINESE), ("big5", TRADITIONAL), ("shift_jis", JAPANESE)],
        *[("euc_jp", JAPANESE), ("euc_kr", KOREAN), ("utf-8", FRENCH), ("utf-16", CHINESE)],
    ],
)
@pytest.mark.parametrize("damaged", [False, True])
def test_multibyte_encodings_are_detected(
    tmp_path: Path, encoding: str, text: str, damaged: bool
) -> None:
    path = tmp_path / "corpus.txt"
    bad = b"\xff\xff\n" if damaged and encoding != "utf-16" else b""
    path.write_bytes((text * 100).encode(encoding) + bad)
    assert recognised(path, encoding="detect").encoding == encoding


def test_characters_far_below_decide_too(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes(b"ascii\n" * 2**18 + (CHINESE * 20).encode("gb18030"))
    assert recognised(path, encoding="detect").encoding == "gb18030"


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le"])
def test_what_is_not_detected_must_be_declared(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes((FRENCH * 200).encode(encoding))
    with pytest.raises(UserError, match=r"corpus.txt: the encoding was not recognised.*Set data"):
        recognised(path, encoding="detect")


@pytest.mark.parametrize("text", ["春眠不觉晓，处处闻啼鸟。\n", "中文", CHINESE * 4])
def test_a_short_text_that_fits_several_encodings_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes(text.encode("gb18030"))
    with pytest.raises(UserError, match=r"read as gb18030, big5.* fewer than 200 .*Set data.enc"):
        recognised(path, encoding="detect")


def test_a_text_that_is_unlikely_in_every_encoding_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    # Many bytes of characters that occur in no language.
    data = bytes(random.Random(0).choices(range(0xB0, 0xC9), k=2000))
    path.write_bytes(data)
    with pytest.raises(
        UserError, match=r"read as gb18030.*(likelier than the others|unlikely together).*Set data"
    ):
        recognised(path, encoding="detect")


def test_ascii_is_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes(b"text\n")
    file = recognised(path)
    assert detect_encoding(file) == "utf-8"
