"""Tables whose columns the recipe names, and labels whose examples are left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptm.component import Config
from ptm.components.objectives.classification import Classification
from ptm.errors import UserError
from ptm.recipe.corpus_block import ReadingBlock
from ptm.text.corpus import CorpusReader, ParsedBlock, ReadOptions, find_corpus, recognise
from ptm.text.corpus.parse import parse
from ptm.text.labels import LabelSet

COLUMNS = ("source", "label", "star", "sentence")
FIELDS = {"text": "sentence", "label": "label"}
LABELS = LabelSet(("0", "1"), ignored=("-",))


def parsed(file: Path, **options: object) -> ParsedBlock:
    """The first block of a labelled file, read as a block of a recipe declares."""
    block = ReadingBlock.model_validate({"fields": FIELDS, **options})
    found = recognise(find_corpus([str(file)]), "labelled", block.options("data"))
    reader = CorpusReader(found[0], index=0, layout="labelled", block_bytes=100)
    return parse(next(reader.blocks()), "labelled", LABELS)


@pytest.mark.parametrize("name", ["train.tsv", "train", "train.txt"])
def test_the_first_line_is_an_example(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('gj04\t1\t\tIt "rains.\ngj04\t0\t*\tRains it.\n')
    found = parsed(tmp_path / name, columns=COLUMNS)
    assert found.documents == [['It "rains.'], ["Rains it."]]
    assert found.labels == [1, 0]


def test_a_file_with_a_header_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("index\tsentence\tlabel\n7\tIt rains.\t1\n")
    found = parsed(tmp_path / "a.tsv", columns=COLUMNS)
    assert found.documents == [["It rains."]]
    assert found.labels == [1]


@pytest.mark.parametrize(("delimiter", "other"), [(",", ";"), (";", ",")])
def test_csv_has_the_delimiter_that_makes_the_columns(
    tmp_path: Path, delimiter: str, other: str
) -> None:
    text = f"It{other} rains{other} and{other} pours{other} all day"
    lines = (("gj04", "1", "", text), ("gj04", "0", "*", "Rains it"))
    (tmp_path / "a.csv").write_text("".join(f"{delimiter.join(line)}\n" for line in lines))
    found = parsed(tmp_path / "a.csv", columns=COLUMNS)
    assert found.documents == [[text], ["Rains it"]]


def test_declared_columns_are_the_names_of_a_line_that_resembles_a_header(tmp_path: Path) -> None:
    text = "question\tanswer\n" + "When?\tNow.\n" * 9
    (tmp_path / "a.tsv").write_text(text)
    options = ReadOptions(columns=("source", "target"))
    (found,) = recognise(find_corpus([str(tmp_path / "a.tsv")]), "pairs", options)
    reader = CorpusReader(found, index=0, layout="pairs", block_bytes=10**6)
    documents = parse(next(reader.blocks()), "pairs", None).documents
    assert (len(documents), documents[0]) == (10, ["question", "answer"])


def test_a_record_of_other_columns_is_counted(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("gj04\t1\t\tIt rains.\ngj04\t0\tno\n")
    found = parsed(tmp_path / "a.tsv", columns=COLUMNS)
    assert (found.invalid, found.first_invalid) == (1, 1)
    assert found.problem == "the record has 3 columns, but data.columns names 4"


def test_a_field_that_is_no_column_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("gj04\t1\t\tIt rains.\n")
    fields = {"text": "sentense", "label": "label"}
    with pytest.raises(UserError, match=r'columns has no column "sentense" for the field text'):
        parsed(tmp_path / "a.tsv", columns=COLUMNS, fields=fields)


@pytest.mark.parametrize("columns", [("a",), ("a", "b", "a")])
def test_columns_are_distinct(columns: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="at least two names, each of them once"):
        ReadingBlock(columns=columns)


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("a.jsonl", '{"label": "-", "sentence": "x"}\n{"label": "1", "sentence": "y"}\n'),
        ("a.tsv", "label\tsentence\n-\tx\n1\ty\n"),
    ],
)
def test_examples_of_ignored_labels_are_counted(tmp_path: Path, name: str, lines: str) -> None:
    (tmp_path / name).write_text(lines)
    found = parsed(tmp_path / name)
    assert (found.documents, found.labels, found.ignored) == ([["y"]], [1], 1)


def test_plain_lines_have_ignored_labels_too(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("1\ty\n-\tx\n")
    found = parsed(tmp_path / "a.tsv", fields={})
    assert (found.documents, found.labels, found.ignored) == ([["y"]], [1], 1)


def test_a_label_is_not_both_known_and_ignored() -> None:
    block: dict[str, object] = {"type": "classification", "labels": 2, "ignored_labels": ["1"]}
    kind: type[Config] = Classification
    with pytest.raises(ValueError, match='ignored_labels: "1" is one of labels too'):
        kind.model_validate(block)
