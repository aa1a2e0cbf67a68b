"""Sentences of tagged words in every format, and every form that is rejected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ptm.errors import UserError
from ptm.text.corpus import CorpusReader, ParsedBlock, ReadOptions, find_corpus, recognise
from ptm.text.corpus.parse import parse
from ptm.text.corpus.pieces import pieces
from ptm.text.tags import TagSet, tags_of_entities

TAGS = TagSet(tags_of_entities(("PER", "LOC"), "bio"), scheme="bio")
OUT, B_PER, I_PER, B_LOC, I_LOC = range(5)
BOTH = [(["Ada", "Lovelace", "wrote"], [B_PER, I_PER, OUT]), (["London"], [B_LOC])]
CONLL = "Ada\tB-PER\nLovelace\tI-PER\nwrote\tO\n\nLondon\tB-LOC\n"
LINES = "Ada Lovelace wrote\tB-PER I-PER O\nLondon\tB-LOC\n"


def read(
    path: Path, content: str | bytes, *, size: int = 2**20, **options: Any
) -> list[ParsedBlock]:
    """The pieces of all blocks of a file."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    files = recognise(find_corpus([str(path)]), "tagged", ReadOptions(**options))
    blocks = CorpusReader(files[0], index=0, layout="tagged", block_bytes=size).blocks()
    return [parse(one, "tagged", TAGS) for block in blocks for one in pieces(block, "tagged")]


def sentences(parsed: list[ParsedBlock]) -> list[tuple[list[str], list[int]]]:
    found = []
    for block in parsed:
        assert block.labels is not None
        tags = iter(block.labels)
        found += [(words, [next(tags) for _ in words]) for words in block.documents]
        assert next(tags, None) is None
    return found


def error(path: Path, content: str | bytes, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(path, content, **options)
    return str(caught.value).replace(f"{path.parent}/", "")


def records(*sentences: tuple[Any, Any], words: str = "tokens", tags: str = "tags") -> str:
    return "".join(json.dumps({words: a, tags: b, "id": 1}) + "\n" for a, b in sentences)


NAMED = records((["Ada", "Lovelace", "wrote"], ["B-PER", "I-PER", "O"]), (["London"], ["B-LOC"]))
NUMBERED = records(*BOTH, tags="ner_tags")
TEXTS = records(("Ada Lovelace wrote", "B-PER I-PER O"), ("London", "B-LOC"), words="words")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.txt", CONLL),
        ("t.tsv", CONLL),
        ("t.conll", CONLL.replace("\t", " ")),
        ("t.conll", CONLL.replace("\t", " NNP x ")),
        ("t.conll", CONLL.replace("\n", "\r\n")),
        ("t.conll", f"-DOCSTART- -X- -X- O\n\n{CONLL}\n\n-DOCSTART- O\n"),
        ("t.conll", CONLL.replace("\n\n", "\n-DOCSTART-\tO\n\n")),
        ("t.tsv", LINES),
        ("t.txt", LINES.replace("\n", "\n\n")),
        ("t.tsv", f"tokens\ttags\n{LINES}"),
        ("t.txt", f"text_a\tlabel\n{LINES}"),
        ("t.tsv", "id\tlabel\ttext_a\n1\tB-PER I-PER O\tAda Lovelace wrote\n2\tB-LOC\tLondon\n"),
        ("t.csv", f"tokens,tags\n{LINES}".replace("\t", ",")),
        ("t.jsonl", NAMED),
        ("t.jsonl", NUMBERED),
        ("t.jsonl", TEXTS),
    ],
)
def test_words_and_tags_of_every_format(tmp_path: Path, name: str, content: str) -> None:
    assert sentences(read(tmp_path / name, content)) == BOTH


@pytest.mark.parametrize("numbered", [True, False])
@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_words_and_tags_of_tables(tmp_path: Path, suffix: str, numbered: bool) -> None:
    import pyarrow as pa
    from pyarrow import feather, parquet

    tags = [one if numbered else [TAGS.names[i] for i in one] for _, one in BOTH]
    table = pa.table({"id": [1, 2], "tokens": [words for words, _ in BOTH], "ner_tags": tags})
    path = tmp_path / f"made.{suffix}"
    write = parquet.write_table if suffix == "parquet" else feather.write_feather
    write(table, path)
    assert sentences(read(tmp_path / f"t.{suffix}", path.read_bytes())) == BOTH


def test_the_declared_fields_are_read(tmp_path: Path) -> None:
    content = records(*BOTH, words="form", tags="entity")
    found = read(tmp_path / "t.jsonl", content, fields={"tokens": "form", "tags": "entity"})
    assert sentences(found) == BOTH


@pytest.mark.parametrize("content", [CONLL + "\n", LINES, NAMED])
def test_blocks_and_pieces_end_between_sentences(tmp_path: Path, content: str) -> None:
    name = "t.jsonl" if content == NAMED else "t.tsv"
    parsed = read(tmp_path / name, content * 50, size=64)
    assert len(parsed) > 10
    assert sentences(parsed) == BOTH * 50


def test_white_space_and_quotation_marks_are_words(tmp_path: Path) -> None:
    wide = "\u3000"
    expected = [(['"', wide, '"'], [OUT, B_PER, OUT])]
    for content in (f'"\tO\n{wide}\tB-PER\n"\tO\n', f'tokens\ttags\n" {wide} "\tO B-PER O\n'):
        assert sentences(read(tmp_path / "t.tsv", content)) == expected


def test_lines_and_blank_lines_are_counted(tmp_path: Path) -> None:
    (parsed,) = read(tmp_path / "t.txt", f"{CONLL}\n\n")
    assert (parsed.lines, parsed.blank, parsed.invalid) == (7, 3, 0)


def test_a_sentence_with_a_damaged_line_is_left_out(tmp_path: Path) -> None:
    damaged = CONLL.encode().replace(b"Lovelace", b"Lovel\xffce")
    first, second = read(tmp_path / "t.txt", damaged)
    assert sentences([first, second]) == BOTH[1:]
    assert (first.invalid, first.first_invalid) == (1, 1)


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ({"tokens": ["a"], "tags": 3}, 'the field "tags" is a number, not a list or a text'),
        ({"tokens": ["a", 3], "tags": [0, 0]}, 'the field "tokens" has a number in its list'),
        ({"tokens": ["a"], "tags": [None]}, 'the field "tags" has null in its list'),
        ({"tokens": ["a"], "tags": [True]}, 'the field "tags" has true or false in its list'),
        ({"tokens": ["a\0"], "tags": [0]}, 'the field "tokens" contains a NUL character'),
        ({"tokens": ["a"]}, 'the record has no field "tags"'),
    ],
)
def test_a_damaged_record_is_left_out(tmp_path: Path, record: Any, problem: str) -> None:
    (parsed,) = read(tmp_path / "t.jsonl", f"{NAMED}{json.dumps(record)}\n")
    assert sentences([parsed]) == BOTH
    assert (parsed.invalid, parsed.first_invalid) == (1, 2)
    assert problem in parsed.problem


def test_a_line_of_a_table_without_tags_is_left_out(tmp_path: Path) -> None:
    # The format is recognised by the lines before.
    (parsed,) = read(tmp_path / "t.tsv", f"tokens\ttags\n{LINES * 10}Ada wrote\n")
    assert sentences([parsed]) == BOTH * 10
    assert (parsed.invalid, parsed.first_invalid) == (1, 21)
    assert parsed.problem == "the record has 1 columns, but the header has 2"


def test_an_empty_record_is_blank(tmp_path: Path) -> None:
    (parsed,) = read(tmp_path / "t.jsonl", NAMED + records(([], []), ("", "")))
    assert (len(parsed.documents), parsed.blank, parsed.invalid) == (2, 2, 0)


# Rejected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.txt", "a\tO\nb\n", 't.txt:2: "b" has no tag. With data.layout: tagged and one word'),
        ("t.txt", "a O\nb\t\n", 't.txt:2: "b" has no tag.'),
        ("t.txt", "a\tO\n\tO\n", "t.txt:2: word 2 of the sentence is empty."),
        ("t.txt", f"{CONLL}\nc\tB-LCO\n", 't.txt:7: "B-LCO" is not one of the tags'),
        ("t.txt", "word tag\na O\n", 't.txt:1: "tag" is not one of the tags'),
        ("t.txt", "word tag\na O\n", "If the line is a header, remove it"),
        ("t.txt", f"text\tlabel\n{CONLL}", 't.txt:1: "label" is not one of the tags'),
        ("t.tsv", "text\tlabel\na\tO\nb\tO\n", 't.tsv:1: "label" is not one of the tags'),
        ("t.txt", f"{LINES}a b\tO\n", "t.txt:3: the sentence has 2 words, but 1 tags."),
        ("t.txt", f"{LINES}a b\tO O\tx\n", 't.txt:3: "a b\tO O\tx" has 3 columns.'),
        ("t.jsonl", f"{NAMED}{records((['a'], []))}", "t.jsonl:3: the sentence has 1 words, but 0"),
        ("t.jsonl", f"{NAMED}{records((['a'], [5]))}", "t.jsonl:3: the tag 5 is out of range"),
        ("t.jsonl", f"{NAMED}{records((['a', ''], [0, 0]))}", "t.jsonl:3: word 2 of the sentence"),
        ("t.jsonl", records((["a"], [0]), tags="pos"), 'has no field "tags"'),
        ("t.jsonl", records((["a"], [0]), tags="pos"), "Set data.fields.tags to the field"),
        ("t.txt", NAMED, "Set data.fields: {tokens: NAME, tags: NAME}"),
    ],
)
def test_a_sentence_that_cannot_be_tagged_is_rejected(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    assert message in error(tmp_path / name, content)


def test_a_column_without_words_is_rejected(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table({"tokens": [["a"]], "tags": [[0.5]]}), tmp_path / "made")
    found = error(tmp_path / "t.parquet", (tmp_path / "made").read_bytes())
    assert 'the column "tags" has the type list<element: double>, which is not tags.' in found


def test_conll_belongs_to_the_layout_tagged(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text(CONLL, encoding="utf-8")
    with pytest.raises(UserError, match=r"conll is read with data\.layout: tagged only"):
        recognise(find_corpus([str(tmp_path / "t.txt")]), "documents", ReadOptions(format="conll"))


# Repair


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("t.txt", f"{CONLL}\na\tO\nb\tI-PER\nc\tI-PER\n\n", 7),
        ("t.txt", f"{LINES}a b c\tO I-PER I-PER\n", 2),
        ("t.jsonl", f"{NAMED}{records((['a', 'b', 'c'], [OUT, I_PER, I_PER]))}", 2),
    ],
)
def test_a_tag_that_breaks_the_rules_is_repaired_and_counted(
    tmp_path: Path, name: str, content: str, line: int
) -> None:
    (parsed,) = read(tmp_path / name, content)
    assert sentences([parsed]) == [*BOTH, (["a", "b", "c"], [OUT, B_PER, I_PER])]
    assert (parsed.repaired, parsed.first_repaired) == (1, line)


def test_a_tag_that_cannot_be_repaired_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("a\tO\nb\tI-PER\n", encoding="utf-8")
    files = recognise(find_corpus([str(path)]), "tagged", ReadOptions())
    (block,) = CorpusReader(files[0], index=0, layout="tagged", block_bytes=99).blocks()
    with pytest.raises(UserError, match=r't.txt:2: the tag I-PER of "b" breaks the rules'):
        parse(block, "tagged", TagSet(("O", "I-PER"), scheme="bio"))
