"""Questions with choices: the forms of files, and what is wrong with a file."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ptm.errors import UserError
from ptm.text.choices import ChoiceQuestion
from ptm.text.corpus import CorpusReader, ReadOptions, find_corpus, recognise
from ptm.text.corpus.blocks import ParsedBlock
from ptm.text.corpus.parse import parse
from tests.support.choice_texts import Question, c3, questions, race

SOME = questions(5, first=0)
FOUR = [one for one in SOME if len(one.choices) == 4]


def read(path: Path, **options: Any) -> list[tuple[list[str], ChoiceQuestion]]:
    """The documents of a file, with their questions."""
    found: list[tuple[list[str], ChoiceQuestion]] = []
    for file in recognise(find_corpus([str(path)]), "choices", ReadOptions(**options)):
        for block in CorpusReader(file, index=0, layout="choices", block_bytes=2**20).blocks():
            parsed = parse(block, "choices", None)
            assert parsed.invalid == 0, parsed.problem
            found += zip(parsed.documents, parsed.choices or [], strict=True)
    return found


def expected(some: list[Question], between: str = "\n") -> list[tuple[list[str], tuple[Any, ...]]]:
    return [
        (
            [between.join(one.lines), *(f"{one.text} {choice}" for choice in one.choices)],
            (one.choices, one.answer),
        )
        for one in some
    ]


def contents(found: list[tuple[list[str], ChoiceQuestion]]) -> list[tuple[Any, ...]]:
    return [(texts, (one.choices, one.answer)) for texts, one in found]


def records(some: list[Question]) -> Iterator[dict[str, Any]]:
    """Records with each way of stating choices and answer."""
    for number, one in enumerate(some):
        base = {"context": "\n".join(one.lines), "question": one.text}
        letters = "ABCD"[: len(one.choices)]
        ways: tuple[dict[str, Any], ...] = (
            {"choices": list(one.choices), "label": one.answer},
            {
                "choices": {"text": list(one.choices), "label": list(letters)},
                "answerKey": letters[one.answer],
            },
            {"options": list(one.choices), "answer": one.choices[one.answer]},
            {
                **{f"ending{n}": choice for n, choice in enumerate(one.choices)},
                "label": str(one.answer),
            },
        )
        yield {**base, **ways[number % len(ways)]}


def test_the_json_of_c3_and_of_race_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "c3.json").write_text(c3(SOME), encoding="utf-8")
    assert contents(read(tmp_path / "c3.json")) == expected(SOME)
    (tmp_path / "1.txt").write_text(race(*FOUR), encoding="utf-8")
    of_first = [Question(FOUR[0].lines, o.text, o.choices, o.answer) for o in FOUR]
    assert contents(read(tmp_path / "1.txt")) == expected(of_first)


@pytest.mark.parametrize("lines", [True, False])
def test_records_may_state_choices_and_answers_in_several_ways(tmp_path: Path, lines: bool) -> None:
    path = tmp_path / "x.json"
    some = list(records(SOME))
    text = "\n".join(map(json.dumps, some)) if lines else json.dumps({"data": some})
    path.write_text(text, encoding="utf-8")
    assert contents(read(path)) == expected(SOME)


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet", "parquet-list"])
def test_tables_have_numbered_choices_or_lists(tmp_path: Path, kind: str) -> None:
    rows = [
        {
            "id": "x",
            "sent1": " ".join(one.lines),
            "sent2": one.text,
            **{f"ending{n}": (*one.choices, "", "")[n] for n in range(4)},
            "label": one.answer,
        }
        for one in SOME
    ]
    path = tmp_path / f"x.{kind.partition('-')[0]}"
    if kind == "parquet-list":
        rows = [
            {
                "context": " ".join(one.lines),
                "question": one.text,
                "options": list(one.choices),
                "answer": "ABCD"[one.answer],
            }
            for one in SOME
        ]
    if kind.startswith("parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            delimiter = "," if kind == "csv" else "\t"
            writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
    assert contents(read(path)) == expected(SOME, " ")


def test_declared_fields_and_questions_without_context(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    record = {"q": "what?", "wrong": ["a", "b"], "gold": 1}
    path.write_text(json.dumps(record), encoding="utf-8")
    ((texts, one),) = read(path, fields={"context": "q", "choices": "wrong", "label": "gold"})
    assert (texts, one.answer) == (["what?", "a", "b"], 1)
    path.write_text(json.dumps({"question": "what?", "choices": ["a", "b"]}), encoding="utf-8")
    ((texts, one),) = read(path)
    assert (texts, one.answer) == (["what?", "a", "b"], -1)


GOOD: dict[str, Any] = {"context": "c", "question": "q", "choices": ["x", "y"], "label": 0}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([{**GOOD, "label": 2}], r"\[0\]\.label: 2 is none of the 2 choices"),
        ([{**GOOD, "label": "C"}], r'\[0\]\.label: "C" is none of the 2 choices'),
        ([GOOD, {**GOOD, "choices": ["x"]}], r"\[1\]\.choices: has 1 choice, but .* at least two"),
        ([{**GOOD, "context": " "}], r"\[0\]\.context: the context is empty"),
        ([{**GOOD, "choices": ["x", ""]}], r"\[0\]\.choices\[1\]: the choice is empty"),
        ([{**GOOD, "choices": ["x", 3]}], r"\[0\]\.choices\[1\]: is a number, not a text"),
        ([{"context": "c", "question": "q"}], r"\[0\]: has no choices \(keys: context, question\)"),
        ([["line", {"question": "q"}]], r"\[0\]: is not \[lines, questions, id\]"),
        ([[["line"], [3], "1-1"]], r"\[0\]\[1\]\[0\]: is a number, not an object"),
        (
            [[["line"], [{"question": "q", "choice": ["a", "b"], "answer": "c"}], "1-1"]],
            r'\[0\]\[1\]\[0\]\.answer: "c" is none of the 2 choices',
        ),
        (
            {"article": "a", "questions": ["q", "r"], "options": [["a", "b"]], "answers": ["A"]},
            r"options: has 1 items, but there are 2 questions",
        ),
        (3, r"is a number, not an object or a list"),
        ([], r"the file has no questions"),
    ],
)
def test_what_is_wrong_is_named_with_its_key(tmp_path: Path, content: Any, sentence: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match=sentence):
        read(path)


def test_a_file_that_is_not_json_and_a_table_without_choices_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('[{"context": "c",\n', encoding="utf-8")
    with pytest.raises(
        UserError, match=r"x\.json:2: the file is not valid JSON .* CSV, TSV, parquet"
    ):
        read(path)
    table = tmp_path / "x.csv"
    table.write_text("context,question,label\na,b,0\n", encoding="utf-8")
    with pytest.raises(UserError, match=r'has no column "choices"\. Choose one of: .* NAME\.$'):
        read(table)


def test_an_unusable_row_of_a_table_is_left_out_and_named(tmp_path: Path) -> None:
    table = tmp_path / "x.csv"
    lines = ["context,ending0,ending1,label", "a,b,c,0", "a,b,c,7", "a,b,,0"]
    table.write_text("\n".join(lines), encoding="utf-8")
    (file,) = recognise(find_corpus([str(table)]), "choices", ReadOptions())
    blocks = CorpusReader(file, index=0, layout="choices", block_bytes=2**20).blocks()
    parsed = [parse(block, "choices", None) for block in blocks]
    assert sum(len(one.documents) for one in parsed) == 1
    assert sum(one.invalid for one in parsed) == 2
    problems = " ".join(one.problem for one in parsed)
    assert 'the field "label": "7" is none of the 2 choices' in problems


def parsed_of(path: Path, *, to_predict: bool = False, **options: Any) -> ParsedBlock:
    """The only block of a file."""
    (file,) = recognise(find_corpus([str(path)]), "choices", ReadOptions(**options))
    (block,) = CorpusReader(file, index=0, layout="choices", block_bytes=2**20).blocks()
    return parse(block, "choices", None, to_predict=to_predict)


def test_a_damaged_line_is_left_out_and_in_predictions_a_question_without_choices(
    tmp_path: Path,
) -> None:
    path = tmp_path / "q.jsonl"
    lines = [json.dumps(GOOD), "{", json.dumps({**GOOD, "label": 7}), "", json.dumps(GOOD)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    parsed = parsed_of(path)
    assert (len(parsed.documents), parsed.invalid, parsed.first_invalid) == (2, 2, 1)
    assert parsed.problem.startswith("the line is not JSON")
    questions_ = parsed_of(path, to_predict=True).choices or []
    assert [len(one.choices) for one in questions_] == [2, 0, 2, 0, 2]
    assert [one.answer for one in questions_] == [0, -1, -1, -1, 0]
    assert [one.place for one in questions_][1] == f"{path}:2"
    assert "7 is none of the 2 choices" in questions_[2].problem
    assert questions_[3].problem == ""


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
@pytest.mark.parametrize("label", ["-1", ""])
def test_an_empty_label_and_minus_one_are_no_answer(
    tmp_path: Path, suffix: str, label: str
) -> None:
    path = tmp_path / f"q.{suffix}"
    record = {"context": "c", "ending0": "x", "ending1": "y", "label": label}
    table = f"{','.join(record)}\n{','.join(record.values())}\n"
    path.write_text(json.dumps(record) if suffix == "jsonl" else table, encoding="utf-8")
    parsed = parsed_of(path, to_predict=True)
    assert [(one.answer, one.problem) for one in parsed.choices or []] == [(-1, "")]


@pytest.mark.parametrize("role", ["label", "context", "choices"])
@pytest.mark.parametrize("name", ["q.jsonl", "q.json"])
def test_a_declared_field_that_no_record_has_is_named(tmp_path: Path, role: str, name: str) -> None:
    path = tmp_path / name
    text = json.dumps(GOOD) if name == "q.jsonl" else json.dumps([GOOD], indent=1)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"(?s)foo.*question"):
        parsed_of(path, fields={role: "foo"})


def test_a_wrong_answer_in_whole_json_is_no_damage_in_predictions(tmp_path: Path) -> None:
    path = tmp_path / "q.json"
    path.write_text(json.dumps([{**GOOD, "label": 7}], indent=1), encoding="utf-8")
    (one,) = parsed_of(path, to_predict=True).choices or []
    assert (one.answer, len(one.choices)) == (-1, 2)
    assert "7 is none of" in one.problem
