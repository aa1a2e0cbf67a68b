from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptm.errors import UserError
from ptm.text.corpus import Block, CorpusReader, FirstLine, find_corpus
from ptm.text.pair_lines import parse_pairs, parse_triplets


def block(data: bytes, *, first_line: int = 1) -> Block:
    return Block(0, 0, data, len(data), "pairs.txt", first_line)


def pairs(text: str) -> list[list[str]]:
    return parse_pairs(block(text.encode())).documents


def test_a_line_is_source_and_target() -> None:
    assert pairs("a b\t看书\nc\td\n") == [["a b", "看书"], ["c", "d"]]


def test_spaces_around_the_sides_and_dos_line_ends_are_stripped() -> None:
    assert pairs(" a \t b\u3000\r\nc\td\r\n") == [["a", "b"], ["c", "d"]]


def test_the_last_pair_needs_no_newline() -> None:
    assert pairs("a\tb\nc\td") == [["a", "b"], ["c", "d"]]


def test_an_empty_side_is_preserved() -> None:
    assert pairs("a\t\n\tb\n \t c\n") == [["a", ""], ["", "b"], ["", "c"]]


def test_blank_lines_are_not_pairs_and_are_counted() -> None:
    parsed = parse_pairs(block(b"\na\tb\n \n\t\n"))
    assert (parsed.documents, parsed.lines, parsed.blank) == ([["a", "b"]], 4, 3)


def test_a_pair_that_is_not_utf_8_is_left_out_and_counted() -> None:
    parsed = parse_pairs(block(b"a\tb\n\xff\t\xff\nc\td\n"))
    assert parsed.documents == [["a", "b"], ["c", "d"]]
    assert (parsed.lines, parsed.invalid, parsed.first_invalid) == (3, 1, 1)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a b c", r'pairs\.txt:12: "a b c" is not a pair\. .*no TAB\. .*`paste SOURCE TARGET`'),
        (
            "a ||| b",
            r"pairs\.txt:12: .*no TAB\. Replace `\|\|\|` by a TAB \(`sed ",
        ),
        ("a\tb\tc\td", r"pairs\.txt:12: .*this line has 3 TABs\. .*`cut -f1,2`"),
        ("a\tb\t", r"pairs\.txt:12: .*this line has 2 TABs"),
    ],
)
def test_a_line_that_is_not_a_pair_is_an_error_with_its_line_number_and_a_fix(
    line: str, message: str
) -> None:
    text = f"a\tb\n\n{line}\nc\td\n"
    with pytest.raises(UserError, match=message):
        parse_pairs(block(text.encode(), first_line=10))


def test_only_the_start_of_a_long_line_is_shown() -> None:
    with pytest.raises(UserError) as error:
        pairs("word " * 100_000)
    assert len(str(error.value)) < 400


LINES = st.sampled_from(
    [b"a\tb", "看\t书".encode(), b"", b"\r", b"\xff\xfe", b"long\tline of text"]
)


@given(lines=st.lists(LINES, max_size=12), wrong=st.integers(0, 11), size=st.integers(1, 40))
def test_neither_pairs_nor_line_numbers_depend_on_the_block_size(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], wrong: int, size: int
) -> None:
    path = tmp_path_factory.mktemp("blocks", numbered=True) / "pairs.txt"
    path.write_bytes(b"first\tpair\n" + b"\n".join(lines))
    parsed = [parse_pairs(one) for one in blocks(path, size)]
    whole = parse_pairs(block(path.read_bytes()))
    assert [pair for part in parsed for pair in part.documents] == whole.documents
    assert sum(part.lines for part in parsed) == whole.lines

    lines.insert(wrong, b"no pair")
    path.write_bytes(b"first\tpair\n" + b"\n".join(lines))
    number = lines.index(b"no pair") + 2
    with pytest.raises(UserError, match=rf'pairs\.txt:{number}: "no pair"'):
        [parse_pairs(one) for one in blocks(path, size)]


def blocks(path: Path, size: int) -> list[Block]:
    (file,) = find_corpus([str(path)])
    return list(CorpusReader(file, index=0, layout="pairs", block_bytes=size).blocks())


def triplets(text: str) -> list[list[str]]:
    lines = text.encode()
    opening = FirstLine(1, text.splitlines()[0])
    return parse_triplets(replace(block(lines), opening=opening)).documents


def test_a_triplet_is_anchor_positive_and_one_or_more_negatives() -> None:
    assert triplets("a\tb\tc\r\nd\te\tf") == [["a", "b", "c"], ["d", "e", "f"]]
    assert triplets("a\tb\tc\td\n") == [["a", "b", "c", "d"]]


def test_a_header_of_triplets_names_their_columns() -> None:
    text = "negative_1\tid\tpositive\tanchor\tnegative_2\nc\t7\tb\ta\td\n"
    assert triplets(text) == [["a", "b", "c", "d"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tb\tc\nd\te\n", r'pairs\.txt:2: "d\te" has 2 columns, but 3 are expected\.'),
        ("a\tb\n", r'pairs\.txt:1: "a\tb" has 2 columns, but 3 .*set data\.layout: pairs'),
        ("a\tb\tc\nd\t \tf\n", r"pairs\.txt:2: the positive is empty\. Write a text, or remove"),
        ("a\tb\tc\td\nd\te\tf\t\n", r"pairs\.txt:2: the negative is empty"),
        ("anchor\tpositive\tnegative\na\tb\n", r"pairs\.txt:2: .* 2 columns, but the header has 3"),
    ],
)
def test_a_line_that_is_no_triplet_is_an_error(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        triplets(text)
