from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ptm.errors import UserError
from ptm.text.corpus import Block, CorpusReader, Layout, ParsedBlock, find_corpus, parse_lines
from tests.support.corpora import recognised

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".bz2": bz2.compress,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.compress,
}
LAYOUTS: tuple[Layout, ...] = ("documents", "sentences")


def blocks(path: Path, *, layout: Layout = "documents", block_bytes: int = 2**18) -> list[Block]:
    (file,) = find_corpus([str(path)])
    return list(CorpusReader(file, index=0, layout=layout, block_bytes=block_bytes).blocks())


def documents(
    path: Path, *, layout: Layout = "documents", block_bytes: int = 2**18
) -> list[list[str]]:
    found: list[list[str]] = []
    for block in blocks(path, layout=layout, block_bytes=block_bytes):
        found += parse_lines(block.data, layout).documents
    return found


@pytest.fixture
def corpus_file(tmp_path: Path) -> Callable[..., Path]:
    def write(data: bytes | str, name: str = "corpus.txt") -> Path:
        path = tmp_path / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    return write


WriteCorpus = Callable[..., Path]


# Finding files


def test_a_glob_finds_its_files_in_order(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "c.md"):
        (tmp_path / name).write_text("text\n")
    found = find_corpus([f"{tmp_path}/*.txt"])
    assert [Path(file.path).name for file in found] == ["a.txt", "b.txt"]


def test_a_glob_with_two_stars_searches_folders_recursively(tmp_path: Path) -> None:
    (tmp_path / "deep" / "deeper").mkdir(parents=True)
    (tmp_path / "deep" / "deeper" / "a.txt").write_text("text\n")
    found = find_corpus([f"{tmp_path}/**/*.txt"])
    assert [Path(file.path).name for file in found] == ["a.txt"]


def test_a_glob_skips_folders(tmp_path: Path) -> None:
    (tmp_path / "folder.txt").mkdir()
    (tmp_path / "a.txt").write_text("text\n")
    assert len(find_corpus([f"{tmp_path}/*.txt"])) == 1


def test_a_list_keeps_its_order(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("text\n")
    found = find_corpus([f"{tmp_path}/b.txt", f"{tmp_path}/a.txt"])
    assert [Path(file.path).name for file in found] == ["b.txt", "a.txt"]


def test_a_file_that_is_listed_twice_is_read_once_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.txt").write_text("text\n")
    assert len(find_corpus([f"{tmp_path}/*.txt"])) == 1
    assert not caplog.messages
    assert len(find_corpus([f"{tmp_path}/a.txt", f"{tmp_path}/*.txt"])) == 1
    (message,) = caplog.messages
    assert f'data.corpus: "{tmp_path}/a.txt" is listed more than once' in message


def test_two_spellings_of_one_path_are_one_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text\n")
    assert len(find_corpus([f"{tmp_path}/a.txt", f"{tmp_path}/./a.txt"])) == 1


def test_a_file_name_may_contain_glob_characters(corpus_file: WriteCorpus) -> None:
    path = corpus_file("text\n", "[a].txt")
    assert documents(path) == [["text"]]


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.corpus.*nowhere\.txt"):
        find_corpus([f"{tmp_path}/nowhere.txt"])


def test_a_glob_without_a_match_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no file matches .*\*\.txt"):
        find_corpus([f"{tmp_path}/*.txt"])


def test_an_empty_file_is_an_error_that_names_it(corpus_file: WriteCorpus) -> None:
    with pytest.raises(UserError, match=r"corpus\.txt: the corpus file is empty"):
        find_corpus([str(corpus_file(""))])


def test_a_folder_stands_for_the_files_below_it_that_have_a_known_suffix(tmp_path: Path) -> None:
    names = ("b.txt", "deep/a.JSONL.gz", "deep/z.parquet", "a.tsv.zst")
    (tmp_path / "deep" / ".git").mkdir(parents=True)
    for name in (*names, "README.md", "deep/.hidden.txt", "deep/.git/x.txt", "noise.gz"):
        (tmp_path / name).write_text("text\n")
    found = [str(Path(file.path).relative_to(tmp_path)) for file in find_corpus([str(tmp_path)])]
    assert found == ["a.tsv.zst", "b.txt", "deep/a.JSONL.gz", "deep/z.parquet"]


def test_a_folder_without_such_files_is_an_error_that_suggests_a_glob(tmp_path: Path) -> None:
    (tmp_path / "wiki_00").write_text("text\n")
    with pytest.raises(UserError, match=r"has no file with one of the suffixes .txt, .*/\*\"\."):
        find_corpus([str(tmp_path)])


# The content of a file


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_compressed_file_has_the_same_documents_as_the_plain_one(
    suffix: str, corpus_file: WriteCorpus
) -> None:
    text = "".join(f"document {number} 文档\n" for number in range(500)).encode()
    plain = corpus_file(text)
    packed = corpus_file(COMPRESS[suffix](text), f"corpus.txt{suffix}")
    assert documents(packed, block_bytes=1000) == documents(plain, block_bytes=1000)
    assert len(documents(packed)) == 500


@pytest.mark.parametrize("suffix", COMPRESS)
def test_all_members_of_a_compressed_file_are_read(suffix: str, corpus_file: WriteCorpus) -> None:
    members = COMPRESS[suffix](b"one\n") + COMPRESS[suffix](b"two\n")
    assert documents(corpus_file(members, f"corpus.txt{suffix}")) == [["one"], ["two"]]


@pytest.mark.parametrize("zeros", [4, 2**17])
def test_streams_after_the_padding_of_an_xz_file_are_read(
    zeros: int, corpus_file: WriteCorpus
) -> None:
    one, two = lzma.compress(b"one\n"), lzma.compress(b"two\n")
    padded = one + bytes(zeros) + two + bytes(zeros)
    assert documents(corpus_file(padded, "corpus.txt.xz")) == [["one"], ["two"]]


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("trailing", [b"no stream, but text\n", b"?", b"\0\0\0x", b"BZ"])
def test_data_after_the_end_of_a_compressed_file_are_an_error(
    suffix: str, trailing: bytes, corpus_file: WriteCorpus
) -> None:
    path = corpus_file(COMPRESS[suffix](b"one\n") + trailing, f"corpus.txt{suffix}")
    with pytest.raises(UserError, match=rf"corpus\.txt\{suffix}: the file is damaged"):
        documents(path)


def test_padding_of_an_xz_file_that_is_no_multiple_of_4_is_an_error(
    corpus_file: WriteCorpus,
) -> None:
    path = corpus_file(lzma.compress(b"one\n") + bytes(6), "corpus.txt.xz")
    with pytest.raises(UserError, match=r"the file is damaged, .*padding"):
        documents(path)


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_truncated_compressed_file_is_an_error_that_names_it(
    suffix: str, corpus_file: WriteCorpus
) -> None:
    whole = COMPRESS[suffix](b"".join(b"document %d\n" % number**3 for number in range(20000)))
    path = corpus_file(whole[: len(whole) // 2], f"corpus.txt{suffix}")
    with pytest.raises(UserError, match=rf"corpus\.txt\{suffix}: the file is damaged"):
        documents(path)


@pytest.mark.parametrize("suffix", COMPRESS)
def test_plain_text_with_a_compression_suffix_is_an_error_that_names_the_file(
    suffix: str, corpus_file: WriteCorpus
) -> None:
    with pytest.raises(
        UserError, match=rf"corpus\.txt\{suffix}: .* damaged, or its suffix is wrong"
    ):
        documents(corpus_file("plain text\n", f"corpus.txt{suffix}"))


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_compressed_file_needs_no_suffix(suffix: str, corpus_file: WriteCorpus) -> None:
    assert documents(corpus_file(COMPRESS[suffix](b"one\ntwo\n"), "corpus")) == [["one"], ["two"]]


def test_a_line_with_a_nul_byte_is_left_out_and_named(corpus_file: WriteCorpus) -> None:
    (block,) = blocks(corpus_file(b"text\nbin\0ary\nmore\n"))
    parsed = parse_lines(block.data, "documents")
    assert parsed.documents == [["text"], ["more"]]
    assert (parsed.invalid, parsed.first_invalid) == (1, 1)
    assert parsed.problem == "the line contains a NUL byte"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (bytes(range(256)) * 4, r"a binary file.*data\.encoding"),
        (
            "text\n".encode("utf-16-le") * 100,
            r"a binary file, or text in another encoding such as UTF-16",
        ),
        (b"PK\x03\x04 and so on\n", "a ZIP archive"),
        (b"%PDF-1.7\n", "a PDF document"),
        (gzip.compress(b"text\n"), "gzip inside another compression"),
        (b"name".ljust(257, b"\0") + b"ustar\x0000", "a tar archive"),
        ("text\n".encode("utf-32"), "UTF-32 text, which ptm does not read. Convert it: `iconv"),
    ],
    ids=["bytes", "UTF-16", "ZIP", "PDF", "gzip", "tar", "UTF-32"],
)
def test_a_binary_file_is_an_error(data: bytes, kind: str, corpus_file: WriteCorpus) -> None:
    compressed = "gzip inside" in kind
    path = corpus_file(gzip.compress(data) if compressed else data)
    with pytest.raises(UserError, match=rf"corpus\.txt: the file is {kind}"):
        recognised(path)


@pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff"])
def test_a_utf_16_byte_order_mark_is_an_error_that_names_the_key(
    mark: bytes, corpus_file: WriteCorpus
) -> None:
    with pytest.raises(UserError, match=r"is UTF-16 text.*Set data\.encoding: utf-16"):
        documents(corpus_file(mark + "文\n".encode("utf-16-le")))


@pytest.mark.parametrize("suffix", ["", *COMPRESS])
def test_the_utf_8_byte_order_mark_is_not_part_of_the_first_document(
    suffix: str, corpus_file: WriteCorpus
) -> None:
    data = "\ufeff文档\n".encode()
    path = corpus_file(COMPRESS[suffix](data) if suffix else data, f"corpus.txt{suffix}")
    assert documents(path) == [["文档"]]


def test_a_byte_order_mark_in_the_middle_of_a_file_is_text(corpus_file: WriteCorpus) -> None:
    path = corpus_file("one\n\ufefftwo\n")
    assert documents(path, block_bytes=4) == [["one"], ["\ufefftwo"]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_dos_line_ends_do_not_change_the_documents(
    layout: Layout, corpus_file: WriteCorpus
) -> None:
    text = "a\nb\n\nc\n\n\nd"
    plain = documents(corpus_file(text), layout=layout, block_bytes=3)
    dos = documents(corpus_file(text.replace("\n", "\r\n")), layout=layout, block_bytes=3)
    assert dos == plain


def test_a_document_that_is_too_large_is_an_error_with_advice(
    corpus_file: WriteCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ptm.text.corpus.sizes.LARGEST_DOCUMENT", 1000)
    path = corpus_file("a sentence\n" * 1000)
    with pytest.raises(UserError, match=r"an empty line ends a document.*data\.layout: documents"):
        documents(path, layout="sentences", block_bytes=100)


# Documents and sentences


def test_the_last_line_is_a_document_even_without_a_newline(corpus_file: WriteCorpus) -> None:
    assert documents(corpus_file("one\ntwo")) == [["one"], ["two"]]


def test_blank_lines_are_not_documents(corpus_file: WriteCorpus) -> None:
    assert documents(corpus_file("\none\n\n \t\n\u3000\ntwo\n\n")) == [["one"], ["two"]]


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\n\n\n"])
def test_the_last_document_of_sentences_needs_no_empty_line(
    end: str, corpus_file: WriteCorpus
) -> None:
    path = corpus_file(f"a\nb\n\nc\nd{end}")
    assert documents(path, layout="sentences") == [["a", "b"], ["c", "d"]]


@pytest.mark.parametrize(
    "gap", ["\n\n", "\n\n\n\n", "\n \n", "\n\t\n\n", "\r\n\r\n", "\n\u3000\r\n"]
)
def test_several_blank_lines_end_one_document(gap: str, corpus_file: WriteCorpus) -> None:
    assert documents(corpus_file(f"\n\na{gap}b"), layout="sentences") == [["a"], ["b"]]


# Blocks


LINES = st.sampled_from(
    [
        *(b"a", "中文".encode(), b" ", b"", b"\r", b"\xff\xfe", b"long line of text", b"n\0l"),
        *("\u3000".encode(), "\xa0\u2003\t".encode(), b"\x1c", b"\xe3\x80"),
    ]
)


@pytest.mark.parametrize("layout", LAYOUTS)
@given(lines=st.lists(LINES, max_size=12), size=st.integers(1, 40), data=st.data())
def test_documents_do_not_depend_on_the_block_size(
    tmp_path_factory: pytest.TempPathFactory,
    layout: Layout,
    lines: list[bytes],
    size: int,
    data: st.DataObject,
) -> None:
    # The first line has no byte-order mark: marks are only looked for at the start of the file.
    text = b"first\n" + data.draw(st.sampled_from([b"\n", b"\r\n"])).join(lines)
    path = tmp_path_factory.mktemp("blocks", numbered=True) / "corpus.txt"
    path.write_bytes(text)
    parsed = [
        parse_lines(block.data, layout) for block in blocks(path, layout=layout, block_bytes=size)
    ]
    whole = parse_lines(text, layout)
    assert [document for part in parsed for document in part.documents] == whole.documents
    assert sum(part.lines for part in parsed) == whole.lines
    assert sum(part.blank for part in parsed) == whole.blank
    assert sum(part.invalid for part in parsed) == whole.invalid


@pytest.mark.parametrize("layout", LAYOUTS)
def test_concatenated_blocks_are_the_file(layout: Layout, corpus_file: WriteCorpus) -> None:
    path = corpus_file("a\nb\n\nc\n\n\n中文\nd")
    for size in range(1, 20):
        parts = blocks(path, layout=layout, block_bytes=size)
        assert b"".join(part.data for part in parts) == path.read_bytes()
        assert [part.number for part in parts] == list(range(len(parts)))


def test_a_block_is_at_most_one_document_larger_than_its_size(corpus_file: WriteCorpus) -> None:
    path = corpus_file(lzma.compress(b"0123456789\n" * 100_000), "corpus.txt.xz")
    found = list(blocks(path, block_bytes=1000))
    # Blocks double in size after every 64, so that their number is bounded.
    assert all(len(block.data) <= (1000 << block.number // 64) + 11 for block in found)
    assert len(found) < 64 * 5


@pytest.mark.parametrize("suffix", ["", *COMPRESS])
def test_bytes_read_increase_to_the_size_of_the_file(suffix: str, corpus_file: WriteCorpus) -> None:
    data = b"".join(b"document %d\n" % number**3 for number in range(20000))
    path = corpus_file(COMPRESS[suffix](data) if suffix else data, f"corpus.txt{suffix}")
    read = [block.bytes_read for block in blocks(path, block_bytes=50_000)]
    assert all(before <= after for before, after in pairwise(read))
    assert read[-1] == path.stat().st_size


# Lines that are not UTF-8


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_line_that_is_not_utf_8_is_left_out_and_counted(layout: Layout) -> None:
    parsed: ParsedBlock = parse_lines(b"good\n\xff\xff\nbetter\n\xfe\n", layout)
    sentences = [sentence for document in parsed.documents for sentence in document]
    assert sentences == ["good", "better"]
    assert (parsed.lines, parsed.invalid, parsed.first_invalid) == (4, 2, 1)
