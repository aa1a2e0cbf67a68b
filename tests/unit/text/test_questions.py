"""The layout `questions`: every form of its files, and errors that name the key."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from ptm.errors import UserError
from ptm.text.corpus import Block, CorpusReader, ReadOptions, find_corpus, recognise
from ptm.text.corpus.parse import parse
from ptm.text.corpus.pieces import pieces
from ptm.text.questions import Answer, Question, located
from tests.support.question_texts import (
    as_records,
    paragraph,
    paragraphs,
    question,
    squad,
    write_json,
    write_lines,
)

ONE = paragraph("ann is here", question("1", "who?", ("ann", 0)))


def read(path: Path, **options: Any) -> tuple[list[list[str]], list[list[Question]], int]:
    """Documents, questions and number of blocks."""
    fields = {"fields_required": False, **options}
    (file,) = recognise(find_corpus([str(path)]), "questions", ReadOptions(**fields))
    reader = CorpusReader(file, index=0, layout="questions", block_bytes=2**12)
    blocks: list[Block] = list(reader.blocks())
    documents, questions = [], []
    for block in blocks:
        for piece in pieces(block, "questions"):
            found = parse(piece, "questions", None)
            documents += found.documents
            questions += found.questions or []
    return documents, questions, len(blocks)


def error_of(path: Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(path, **options)
    return str(caught.value)


def expected_of(some: list[dict[str, Any]]) -> tuple[list[list[str]], list[list[tuple[Any, ...]]]]:
    texts = [[one["context"], *(qa["question"] for qa in one["qas"])] for one in some]
    questions = [
        [
            (qa["id"], tuple(Answer(a["text"], a["answer_start"]) for a in qa["answers"]))
            for qa in one["qas"]
        ]
        for one in some
    ]
    return texts, questions


def without_places(questions: list[list[Question]]) -> list[list[tuple[Any, ...]]]:
    return [[(one.id, one.answers) for one in some] for some in questions]


def test_squads_json_and_records_are_read_alike(tmp_path: Path) -> None:
    some = paragraphs(60, seed=3, no_answer=True)
    texts, questions = expected_of(some)
    nested = write_json(tmp_path / "a.json", squad(*some))
    indented = tmp_path / "b.json"
    indented.write_text(json.dumps(squad(*some), ensure_ascii=False, indent=1), encoding="utf-8")
    below_data = write_json(tmp_path / "c.json", {"data": as_records(some)})
    for path in (nested, indented, below_data):
        documents, found, blocks = read(path)
        assert (documents, without_places(found)) == (texts, questions), path
        assert blocks > 1
    lines = write_lines(tmp_path / "d.jsonl", as_records(some))
    documents, found, _ = read(lines)
    assert [text for one in documents for text in one[1:]] == [
        text for one in texts for text in one[1:]
    ]
    assert list(chain(*without_places(found))) == list(chain(*questions))
    # A context is one document, unless a block ends between its questions.
    assert len(documents) < 1.2 * len(texts)


@pytest.mark.parametrize("nested", ["object of lists", "list of objects"])
def test_parquet_is_read_as_json_lines(tmp_path: Path, nested: str) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    records = as_records(paragraphs(9, seed=6, no_answer=True))
    if nested == "list of objects":
        for record in records:
            pairs = zip(record["answers"]["text"], record["answers"]["answer_start"], strict=True)
            record["answers"] = [{"text": text, "answer_start": at} for text, at in pairs]
    parquet.write_table(pa.Table.from_pylist(records), tmp_path / "a.parquet")
    lines = write_lines(tmp_path / "a.jsonl", records)
    of_table, of_lines = read(tmp_path / "a.parquet"), read(lines)
    # Their blocks end elsewhere.
    assert {one[0] for one in of_table[0]} == {one[0] for one in of_lines[0]}
    assert list(chain(*without_places(of_table[1]))) == list(chain(*without_places(of_lines[1])))


def test_the_first_format_of_cmrc_has_texts_as_answers(tmp_path: Path) -> None:
    first = [
        {
            "context_id": "TRIAL_0",
            "context_text": "安在天安门看书1985",
            "qas": [{"query_id": "T_Q0", "query_text": "在哪", "answers": ["天安门", 1985]}],
            "title": "安",
        }
    ]
    documents, questions, _ = read(write_json(tmp_path / "a.json", first))
    assert documents == [["安在天安门看书1985", "在哪"]]
    ((one,),) = questions
    assert (one.id, one.answers) == ("T_Q0", (Answer("天安门", None), Answer("1985", None)))
    found = located(documents[0][0], one.answers or ())
    assert found is not None
    assert (found.start, found.end, found.moved) == (2, 5, False)


def test_a_question_without_the_key_answers_is_unlabelled(tmp_path: Path) -> None:
    entry = {"id": "1", "question": "who?"}
    _, questions, _ = read(write_json(tmp_path / "a.json", squad(paragraph("ann", entry))))
    assert questions[0][0].answers is None
    _, questions, _ = read(write_lines(tmp_path / "b.jsonl", [{"context": "ann", **entry}]))
    assert questions[0][0].answers is None


def test_an_answer_is_searched_nearest_to_its_start() -> None:
    context = "ab cd ab ef ab"
    for start, expected in ((6, 6), (5, 6), (1, 0), (13, 12), (99, 12), (4, 6), (None, 0)):
        found = located(context, [Answer("ab", start)])
        assert found is not None
        assert (found.start, found.end) == (expected, expected + 2)
        assert found.moved == (start not in (6, None))
    # The next answer counts if the first one is not in the context; white space around does not.
    found = located(context, [Answer("xy", 0), Answer(" ef", 8)])
    assert found is not None
    assert (found.start, found.end, found.moved) == (9, 11, False)
    assert located(context, [Answer("xy", 0), Answer("", 0)]) is None


WRONG = {
    "data[0].paragraphs: is missing (keys: title)": {"data": [{"title": "x"}]},
    "data: is a number, not a list": {"data": 1},
    "data[0].paragraphs[0].qas: is missing": {"data": [{"paragraphs": [{"context": "a"}]}]},
    "data[0].paragraphs[1].context: is missing": squad(ONE, {"text": "a", "qas": []}),
    "data[0].paragraphs[0].context: the text is empty": squad(paragraph("  ")),
    "data[0].paragraphs[0].qas[0].id: is missing (keys: question)": squad(
        paragraph("ann", {"question": "who?"})
    ),
    "data[0].paragraphs[0].qas[0].answers: answer_start is text, not a whole number": squad(
        paragraph("ann", question("1", "who?", ("ann", "0")))  # type: ignore[arg-type]
    ),
    "data[0].paragraphs[0].qas[0].answers: an answer is null": squad(
        paragraph("ann", {"id": "1", "question": "who?", "answers": [{"start": 1}]})
    ),
    "data[0]: is a number, not an object": {"data": [3]},
    "[0].paragraphs: is missing": [{"contexts": 1}],
    "the file has no questions": {"data": []},
    "data[0].paragraphs[0].context: the field": squad(paragraph("a\0b", question("1", "who?"))),
}


@pytest.mark.parametrize("message", WRONG)
def test_json_of_another_shape_is_an_error_with_the_key(tmp_path: Path, message: str) -> None:
    path = write_json(tmp_path / "a.json", WRONG[message])
    assert error_of(path).startswith(f"{path}: {message}")


def test_a_file_that_is_not_json_is_an_error_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"data":\n [{"paragraphs": [}]}', encoding="utf-8")
    assert error_of(path).startswith(f"{path}:2: the file is not valid JSON")
    assert error_of(path).endswith("Questions are read from JSON, JSON lines, parquet or Arrow.")


def test_damaged_records_are_counted(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = as_records(paragraphs(3, seed=1))
    bad: list[Any] = [
        {**records[0], "context": " "},
        {**records[0], "answers": {"text": ["ann"], "answer_start": []}},
        {**records[0], "id": None},
    ]
    path = write_lines(tmp_path / "a.jsonl", [*records, *bad])
    (file,) = recognise(find_corpus([str(path)]), "questions", ReadOptions())
    (block,) = CorpusReader(file, index=0, layout="questions", block_bytes=2**20).blocks()
    found = parse(block, "questions", None)
    assert (found.invalid, found.first_invalid) == (3, len(records))
    assert found.problem == 'the field "context" is empty'
    assert sum(map(len, found.questions or [])) == len(records)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.jsonl", {"format": "csv"}, "is read from SQuAD's JSON, JSON lines, parquet or Arrow"),
        ("b.jsonl", {}, 'the record has no field "question"'),
    ],
)
def test_other_formats_and_fields_are_errors(
    tmp_path: Path, name: str, options: dict[str, Any], message: str
) -> None:
    path = write_lines(tmp_path / name, [{"id": "1", "context": "ann", "query": "who?"}])
    assert message in error_of(path, **options)


def test_squads_json_belongs_to_the_layout_questions(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", squad(ONE))
    with pytest.raises(UserError, match=r"read with data\.layout: questions only"):
        recognise(find_corpus([str(path)]), "documents", ReadOptions(format="squad"))


def test_named_fields_are_read(tmp_path: Path) -> None:
    records = [{"qid": 7, "text": "ann", "query": "who?", "gold": ["ann"]}]
    path = write_lines(tmp_path / "a.jsonl", records)
    fields = {"id": "qid", "context": "text", "question": "query", "answers": "gold"}
    documents, questions, _ = read(path, fields=fields)
    assert documents == [["ann", "who?"]]
    assert (questions[0][0].id, questions[0][0].answers) == ("7", (Answer("ann", None),))


def test_a_damaged_line_is_named_and_in_predictions_a_question_without_text(
    tmp_path: Path,
) -> None:
    good = json.dumps({"id": "1", "context": "ann", "question": "who?"})
    path = tmp_path / "a.jsonl"
    lines = [good, "{", json.dumps({"id": "3", "context": None, "question": "q"}), "", good]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    (file,) = recognise(find_corpus([str(path)]), "questions", ReadOptions())
    (block,) = CorpusReader(file, index=0, layout="questions", block_bytes=2**20).blocks()
    found = parse(block, "questions", None)
    assert (found.invalid, found.first_invalid, found.blank) == (2, 1, 1)
    assert found.problem.startswith("the line is not JSON")
    every = parse(block, "questions", None, to_predict=True).questions or []
    ids = [one.id for some in every for one in some]
    assert ids == ["1", "", "3", "", "1"]
    assert [one.problem is None for some in every for one in some] == [
        *(True, False, False, False, True)
    ]
