"""Lines of layout `labelled`: labels, headers, columns, and every line that is rejected."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ptm.errors import UserError
from ptm.text.corpus import Block, CorpusReader, ParsedBlock, find_corpus
from ptm.text.labelled_lines import parse_labelled
from ptm.text.labels import LabelSet, check_evaluated_labels, check_trained_labels

NAMED = LabelSet(("negative", "positive"))
NUMBERED = LabelSet(("0", "1", "2"), numbered=True)


def blocks(path: Path, text: str | bytes, *, size: int = 2**20) -> list[Block]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    (file,) = find_corpus([str(path)])
    return list(CorpusReader(file, index=0, layout="labelled", block_bytes=size).blocks())


def parse(folder: Path, text: str | bytes, labels: LabelSet = NUMBERED) -> ParsedBlock:
    (block,) = blocks(folder / "t.tsv", text)
    return parse_labelled(block, labels)


def found(folder: Path, text: str, labels: LabelSet = NUMBERED) -> list[tuple[int, list[str]]]:
    parsed = parse(folder, text, labels)
    assert parsed.labels is not None
    return list(zip(parsed.labels, parsed.documents, strict=True))


def error(folder: Path, text: str | bytes, labels: LabelSet = NUMBERED) -> str:
    with pytest.raises(UserError) as caught:
        parse(folder, text, labels)
    return str(caught.value).replace(str(folder), "")


def test_a_line_is_a_label_and_a_text(tmp_path: Path) -> None:
    assert found(tmp_path, "2\t好书\n0\tso so\n") == [(2, ["好书"]), (0, ["so so"])]


def test_a_line_with_two_texts_is_a_pair(tmp_path: Path) -> None:
    assert found(tmp_path, "1\ta\tb\n0\tc\td\n") == [(1, ["a", "b"]), (0, ["c", "d"])]


def test_named_labels_have_the_index_of_their_position(tmp_path: Path) -> None:
    assert found(tmp_path, "positive\ta\nnegative\tb\n", NAMED) == [(1, ["a"]), (0, ["b"])]


def test_spaces_and_dos_line_ends_are_stripped(tmp_path: Path) -> None:
    assert found(tmp_path, " 1 \t a \r\n0\tb\r\n") == [(1, ["a"]), (0, ["b"])]


def test_a_byte_order_mark_belongs_to_no_column(tmp_path: Path) -> None:
    assert found(tmp_path, "\ufefflabel\ttext\n1\ta\n") == [(1, ["a"])]


@pytest.mark.parametrize(
    ("header", "line", "texts"),
    [
        ("label\ttext_a", "1\ta", ["a"]),
        ("label\ttext", "1\ta", ["a"]),
        ("Label\tText_A\tText_B", "1\ta\tb", ["a", "b"]),
        ("text_b\tlabel\ttext_a", "b\t1\ta", ["a", "b"]),
        ("id\ttext\tlabel", "17\ta\t1", ["a"]),
    ],
)
def test_a_header_names_the_columns_in_any_order(
    tmp_path: Path, header: str, line: str, texts: list[str]
) -> None:
    assert found(tmp_path, f"{header}\n{line}\n") == [(1, texts)]


def test_a_line_that_contains_a_declared_label_is_not_a_header(tmp_path: Path) -> None:
    labels = LabelSet(("label", "other"))
    assert found(tmp_path, "label\ttext\nother\ta\n", labels) == [(0, ["text"]), (1, ["a"])]


def test_blank_and_undecodable_lines_are_left_out_and_counted(tmp_path: Path) -> None:
    parsed = parse(tmp_path, b"\n\xff\xff\nlabel\ttext\n1\ta\n \n\xff\n0\tb\n")
    assert (parsed.labels, parsed.documents) == ([1, 0], [["a"], ["b"]])
    assert (parsed.lines, parsed.blank, parsed.invalid, parsed.first_invalid) == (7, 2, 2, 1)


def test_every_block_of_a_file_knows_its_columns(tmp_path: Path) -> None:
    lines = "".join(f"text {number}\t{number % 3}\n" for number in range(200))
    several = blocks(tmp_path / "t.tsv", f"text\tlabel\n{lines}", size=100)
    assert len(several) > 10
    parsed = [parse_labelled(block, NUMBERED) for block in several]
    assert [label for one in parsed for label in one.labels or ()] == [n % 3 for n in range(200)]


def test_blocks_before_the_first_line_of_text_are_parsed(tmp_path: Path) -> None:
    several = blocks(tmp_path / "t.tsv", "\n" * 30 + "label\ttext\n1\ta\n", size=10)
    assert len(several) > 3
    parsed = [parse_labelled(block, NUMBERED) for block in several]
    assert [document for one in parsed for document in one.documents] == [["a"]]


def test_the_last_line_needs_no_newline(tmp_path: Path) -> None:
    parsed = [parse_labelled(one, NUMBERED) for one in blocks(tmp_path / "t.tsv", "1\ta\n2\tb")]
    assert [(one.labels, one.documents) for one in parsed] == [([1], [["a"]]), ([2], [["b"]])]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\ta\n\tb\n", "/t.tsv:2: the label is missing. Write a label before the first TAB."),
        ("1\ta\n\n3\tb\n", "/t.tsv:3: the label 3 is out of range: objective.labels = 3 allows"),
        ("01\ta\n", "/t.tsv:1: the label 01 begins with zeros. Write 1."),
        ("03\ta\n", "/t.tsv:1: the label 03 is out of range: objective.labels = 3 allows"),
        ("1\ta\ngood\tb\n", '/t.tsv:2: "good" is not a label: objective.labels = 3 expects a'),
        ("1\ta\n-1\tb\n", '/t.tsv:2: "-1" is not a label'),
        ("1\ta\n0\t \n", "/t.tsv:2: the text is empty. Write a text, or remove the line."),
        ("1\ta\tb\n0\tc\t\n", "/t.tsv:2: text 2 of the pair is empty."),
        ("1\ta\n0\n", '/t.tsv:2: "0" has 1 columns, but the first line of the file promises'),
        ("1\ta\n0\tb\tc\n", "/t.tsv:2: .* has 3 columns, so it is a pair of texts, but .* label<"),
        ("1\ta\tb\n0\tc\n", "/t.tsv:2: .* has 2 columns, but .* label<TAB>text_a<TAB>text_b"),
        ("label\ttext\n0\tb\tc\n", "/t.tsv:2: .* has 3 columns, but .* promises 2 columns"),
        ("no tabs\n", "/t.tsv:1: .* is not a labelled text .columns: 1.*needs a header"),
        ("1\ta\tb\tc\n", "/t.tsv:1: .* is not a labelled text .columns: 4.*needs a header"),
        ("sentiment\ttext\n1\ta\n", '/t.tsv:1: "sentiment" is not a label.*is a header, name'),
        ("label\tsentence\n1\ta\n", "/t.tsv:1: the header has no column text or text_a."),
        ("label\ttext\ttext_a\n", "/t.tsv:1: the header has both text and text_a."),
        ("label\ttext\tlabel\n", '/t.tsv:1: the header names the column "label" twice.'),
    ],
)
def test_a_line_that_cannot_be_read_is_named_with_the_fix(
    tmp_path: Path, text: str, message: str
) -> None:
    assert re.match(message, error(tmp_path, text)), error(tmp_path, text)


def test_a_misspelt_label_is_named_with_the_one_that_was_meant(tmp_path: Path) -> None:
    assert error(tmp_path, "negative\ta\npostive\tb\n", NAMED).startswith(
        '/t.tsv:2: "postive" is not one of objective.labels = [negative, positive]. Did you mean '
        '"positive"?'
    )


# Labels that cannot be learned


def test_one_label_alone_cannot_be_learned() -> None:
    with pytest.raises(UserError, match='x: every training example has the label "b"'):
        check_trained_labels({"a": 0, "b": 7}, where="x")


def test_a_declared_label_without_examples_cannot_be_learned() -> None:
    with pytest.raises(UserError, match='x: no training example has the label "c", which'):
        check_trained_labels({"a": 1, "b": 7, "c": 0}, where="x")
    check_trained_labels({"a": 1, "b": 7}, where="x")


def test_a_label_that_only_an_evaluation_set_has_cannot_be_learned() -> None:
    with pytest.raises(UserError, match='dev: the label "c" occurs in this evaluation set but'):
        check_evaluated_labels({"a": 0, "b": 1, "c": 1}, {"a": 1, "b": 1, "c": 0}, where="dev")
    check_evaluated_labels({"a": 0, "b": 1}, {"a": 1, "b": 1}, where="dev")
