"""JSON of questions with choices: C3, RACE, and records as the Hub's data sets have them.

- C3 (Sun et al. 2020): `[[[dialogue lines], [{"question", "choice": […], "answer"}], id]]`.
- RACE (Lai et al. 2017): `{"article", "questions": […], "options": [[…]], "answers": ["A"]}`, one
  object per file, or a list of them.
- Records, in a list or as JSON lines: a context, a question, and a list of choices or numbered
  choices (`ending0`, `ending1`, …), with the answer as a number, a letter, or the text of a choice.

JSON lines are read line by line, see `line_entries`. The data of a block of any other file has one
question per line, as JSON: `[key path, context, question, choices, answer, problem]`, in which the
answer is the index of a choice, or null for a question without one, and the problem is what is
wrong with its answer, or empty.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ptm.errors import UserError
from ptm.limits import LONGEST_LINE
from ptm.text.corpus.blocks import Block
from ptm.text.corpus.files import CorpusFile, Format
from ptm.text.corpus.json_documents import are_json_lines
from ptm.text.corpus.json_lines import Field, objects_in
from ptm.text.corpus.json_values import entry_blocks, json_value
from ptm.text.corpus.records import kind_of, unusable_text

CHOICE_FIELDS: Mapping[str, tuple[str, ...]] = {
    "context": ("context", "article", "passage", "document", "sent1", "startphrase"),
    "question": ("question", "query", "sent2"),
    "choices": ("choices", "choice", "options", "endings", "answers", "ending", "option"),
    "label": ("label", "answerKey", "answer_key", "answer", "gold"),
}
"""Role -> names that its field may have without being declared, the first found one counts. Choices
may also be in fields with a name of these and a number."""
_FORMS = (
    'Questions with choices are {"context": …, "question": …, "choices": [...], "label": 0}, '
    "RACE's JSON or C3's JSON."
)
NO_ANSWER = ("", "-1")
"""Answers of questions without one: SWAG's test set has -1."""


class ChoiceError(ValueError):
    """What is wrong with a question; `key` has the problem, "" for the question itself."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(problem)
        self.key = key


_FORMATS = "Questions with choices are read from JSON, JSON lines, CSV, TSV, parquet or Arrow."


@dataclass(frozen=True)
class Entry:
    """A question. `answer`: the index of the right choice, or None.

    `wrong`: what is wrong with an answer that is none of the choices.
    """

    context: str
    question: str
    choices: list[str]
    answer: int | None
    wrong: ChoiceError | None = None


def choice_blocks(
    file: CorpusFile, *, index: int, bytes_of: Callable[[int], int]
) -> Iterator[Block]:
    """Yield the blocks of a file, of about `bytes_of(number)` bytes each.

    The whole file is in memory meanwhile. Raises UserError, with the path of the key, if it is not
    JSON of one of the forms, or if a question is unusable.
    """
    value, read = json_value(file, formats=_FORMATS)
    declared = dict(zip(file.roles, file.fields, strict=True))
    optional = "label" in declared and declared["label"] in file.optional
    yield from entry_blocks(
        file,
        _Tree(file.path, declared, label_optional=optional).entries(value),
        name="choices",
        noun="question",
        read=read,
        index=index,
        bytes_of=bytes_of,
    )


class _Tree:
    """Walks the parsed JSON of one file."""

    def __init__(self, path: str, declared: Mapping[str, str], *, label_optional: bool) -> None:
        self._path = path
        self._declared = declared
        self._label_optional = label_optional

    def entries(self, value: Any) -> Iterator[tuple[Any, ...]]:
        place, items = "", value
        if isinstance(value, dict) and isinstance(value.get("data"), list):
            place, items = "data", value["data"]
        if not isinstance(items, list):
            self._check_label([items])
            yield from self._item(place, items)
            return
        self._check_label(items)
        for number, item in enumerate(items):
            yield from self._item(f"{place}[{number}]", item)

    def _check_label(self, items: Sequence[Any]) -> None:
        """Raise UserError if no record has the field that is declared for the answer."""
        name = self._declared.get("label")
        found = [one for one in items if isinstance(one, dict) and not _is_race(one)]
        if name is None or self._label_optional or not found:
            return
        if not any(Field(name).is_in(one) for one in found):
            raise self._error("", Field(name).absence(found[0]))

    def _item(self, place: str, item: Any) -> Iterator[tuple[Any, ...]]:
        if isinstance(item, list):
            yield from self._c3(place, item)
        elif not isinstance(item, dict):
            raise self._error(place, f"is {kind_of(item)}, not an object or a list. {_FORMS}")
        elif _is_race(item):
            try:
                for inner, record in race_records(item):
                    yield self._entry(_inside(place, inner), record, {})
            except ChoiceError as error:
                raise self._error(_inside(place, error.key), f"{error}") from error
        else:
            yield self._entry(place, item, self._declared)

    def _c3(self, place: str, item: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        if len(item) < 2 or not isinstance(item[1], list):
            raise self._error(
                place,
                "is not [lines, questions, id], as C3's JSON has it: its second item must be the "
                f"list of questions. {_FORMS}",
            )
        for number, one in enumerate(item[1]):
            inner = f"{place}[1][{number}]"
            if not isinstance(one, dict):
                raise self._error(inner, f"is {kind_of(one)}, not an object. {_FORMS}")
            record = {**one, "context": item[0]}
            yield self._entry(inner, record, {})

    def _entry(
        self, place: str, record: Mapping[str, Any], declared: Mapping[str, str]
    ) -> tuple[Any, ...]:
        try:
            one = record_entry(record, declared)
        except ChoiceError as error:
            raise self._error(_inside(place, error.key), f"{error}") from error
        wrong = one.wrong
        problem = "" if wrong is None else str(self._error(_inside(place, wrong.key), f"{wrong}"))
        return place, one.context, one.question, one.choices, one.answer, problem

    def _error(self, place: str, problem: str) -> UserError:
        ending = "" if problem.endswith(".") else "."
        return UserError(f"{self._path}: {place}{': ' if place else ''}{problem}{ending}")


def _inside(place: str, key: str) -> str:
    return f"{place}.{key}" if place and key else place or key


def _is_race(item: Mapping[str, Any]) -> bool:
    return isinstance(item.get("questions"), list)


def race_records(item: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The questions of an object of RACE as records, each with its place in the object.

    Raises ChoiceError if its lists are unusable.
    """
    lists = {key: item.get(key) for key in ("questions", "options", "answers")}
    count = len(item["questions"])
    for key, values in lists.items():
        if key == "answers" and values is None:
            lists[key] = values = [None] * count
        if not isinstance(values, list):
            raise ChoiceError(key, f"is {kind_of(values)}, not a list. {_FORMS}")
        if len(values) != count:
            raise ChoiceError(key, f"has {len(values)} items, but there are {count} questions")
    columns = (lists["questions"] or (), lists["options"] or (), lists["answers"] or ())
    for number, (question, options, answer) in enumerate(zip(*columns, strict=True)):
        yield (
            f"questions[{number}]",
            {
                "context": item.get("article"),
                "question": question,
                "choices": options,
                "answer": answer,
            },
        )


def line_entries(record: Mapping[str, Any], declared: Mapping[str, str]) -> list[tuple[str, Entry]]:
    """The questions of a line of JSON lines, each with its place in the object.

    Raises ChoiceError if one of them is unusable.
    """
    if not _is_race(record):
        return [("", record_entry(record, declared))]
    return [(place, record_entry(one, {})) for place, one in race_records(record)]


def choices_format(lines: Sequence[str]) -> Format:
    """The format of a JSON file with layout `choices`; `lines`: its first ones.

    JSON lines have an object per line. A file with a single line of RACE's is one value.
    """
    objects = [one for line in lines for one in objects_in([line]) or []]
    if not are_json_lines(lines, share=0.5):
        return "choices"
    is_whole = isinstance(objects[0].get("data"), list) or _is_race(objects[0])
    return "choices" if len(lines) == 1 and is_whole else "json_lines"


def check_lines(
    path: str, objects: Sequence[Mapping[str, Any]], declared: Mapping[str, str]
) -> None:
    """Raise UserError if no record of JSON lines has a declared field, or none has choices."""
    records = [one for one in objects if not _is_race(one)]
    if not records or len(records) < len(objects):
        return
    for role, name in declared.items():
        several = role == "choices" and any(numbered(one, name) for one in records)
        if not several and not any(Field(name).is_in(dict(one)) for one in records):
            raise UserError(f"{path}:1: {Field(name).absence(dict(records[0]))}")
    if all(_field_of("choices", one, declared) is None for one in records):
        raise UserError(
            f"{path}:1: the record has no choices (keys: {_keys(records[0])}). {_FORMS}"
        )


def record_entry(record: Mapping[str, Any], declared: Mapping[str, str]) -> Entry:
    """The question of a record. `declared`: role -> name of its field.

    Raises ChoiceError if context, question or choices are unusable.
    """
    record = {**record, **_below(record, declared)}
    names = {role: _field_of(role, record, declared) for role in CHOICE_FIELDS}
    choices, own_labels, of_choices = _choices(record, names["choices"])
    if names["label"] == of_choices:
        # RACE's records name the list of choices `options`; those of others `answers`.
        names["label"] = None
    question = _text(record, names["question"], "question", may_be_empty=True)
    if names["context"] is None:
        if not question:
            raise ChoiceError("", f"has no context (keys: {_keys(record)}). {_FORMS}")
        # Questions about no text, such as those of CommonsenseQA.
        context, question = question, ""
    else:
        context = _text(record, names["context"], "context")
    if len(choices) < 2:
        raise ChoiceError(
            of_choices,
            f"has {len(choices)} choice{'s' if len(choices) != 1 else ''}, but a question needs "
            "at least two. Remove the question, or add choices",
        )
    answer = None if names["label"] is None else record.get(names["label"])
    index = _index_of(answer, choices, own_labels)
    wrong = None
    if index is None and answer is not None and str(answer).strip() not in NO_ANSWER:
        wrong = ChoiceError(
            names["label"] or "",
            f"{json.dumps(answer, ensure_ascii=False)[:60]} is none of the {len(choices)} choices: "
            "an answer is the number of a choice, counted from 0, its letter, or its text",
        )
    return Entry(context, question, choices, index, wrong)


def _below(record: Mapping[str, Any], declared: Mapping[str, str]) -> dict[str, Any]:
    """The values of declared fields that are dotted paths, by these paths."""
    paths = [name for name in declared.values() if "." in name and name not in record]
    return {name: Field(name).of(dict(record)) for name in paths if Field(name).is_in(dict(record))}


def _field_of(role: str, record: Mapping[str, Any], declared: Mapping[str, str]) -> str | None:
    if role in declared:
        return declared[role]
    known = CHOICE_FIELDS[role]
    if role == "choices":
        for name in known:
            if isinstance(record.get(name), (list, dict)) or numbered(record, name):
                return name
        return None
    return next((name for name in known if name in record), None)


def numbered(names: Mapping[str, Any] | Sequence[str], name: str) -> list[str]:
    """The fields that are `name` and a number or a letter, in order: ending0, ending1, …"""
    found = []
    for one in names:
        match = re.fullmatch(rf"{re.escape(name)}_?(\d+|[A-Ha-h])", str(one))
        if match:
            found.append((match[1].zfill(6).lower(), str(one)))
    return [one for _, one in sorted(found)]


def _choices(
    record: Mapping[str, Any], name: str | None
) -> tuple[list[str], list[str] | None, str]:
    """The choices, their own labels if they have any, and the field that has them."""
    if name is None:
        raise ChoiceError("", f"has no choices (keys: {_keys(record)}). {_FORMS}")
    value = record.get(name)
    labels = None
    if value is None:
        fields = numbered(record, name)
        if not fields:
            raise ChoiceError(name, f"is missing (keys: {_keys(record)})")
        # A CSV of questions with different numbers of choices has empty cells at the end.
        value = [record[one] for one in fields]
        while value and value[-1] in (None, ""):
            value.pop()
    if isinstance(value, dict):
        texts, labels = value.get("text"), value.get("label")
        if not isinstance(texts, list) or not isinstance(labels, list):
            raise ChoiceError(name, "an object of choices needs the lists text and label")
        if len(texts) != len(labels):
            raise ChoiceError(name, f"has {len(texts)} texts, but {len(labels)} labels")
        value, labels = texts, list(map(str, labels))
    if not isinstance(value, list):
        raise ChoiceError(name, f"is {kind_of(value)}, not a list")
    for number, choice in enumerate(value):
        if not isinstance(choice, str):
            raise ChoiceError(f"{name}[{number}]", f"is {kind_of(choice)}, not a text")
        problem = unusable_text(choice, "text")
        if problem or not choice.strip():
            raise ChoiceError(f"{name}[{number}]", problem or "the choice is empty")
    return [choice.strip() for choice in value], labels, name


def _text(
    record: Mapping[str, Any], name: str | None, role: str, *, may_be_empty: bool = False
) -> str:
    if name is None:
        return ""
    if name not in record:
        raise ChoiceError(name, f"is missing (keys: {_keys(record)})")
    value = record[name]
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        value = "\n".join(value)
    if value is None and may_be_empty:
        return ""
    if not isinstance(value, str):
        raise ChoiceError(name, f"is {kind_of(value)}, not a text")
    problem = unusable_text(value, role)
    if not value.strip() and not may_be_empty:
        problem = "the context is empty. Write a text, or remove the question"
    elif len(value) > LONGEST_LINE // 4 and len(value.encode()) > LONGEST_LINE:
        problem = f"the text is longer than {LONGEST_LINE // 2**20} MB"
    if problem:
        raise ChoiceError(name, problem)
    return value.strip()


def _index_of(answer: Any, choices: list[str], own: list[str] | None) -> int | None:
    """The index of the choice that is the answer: by its label, text, letter or number."""
    if isinstance(answer, bool) or not isinstance(answer, (str, int)):
        return None
    text = str(answer).strip()
    if own is not None:
        return own.index(text) if text in own else None
    if isinstance(answer, str) and text in choices:
        return choices.index(text)
    if re.fullmatch(r"[A-Za-z]", text):
        number = ord(text.upper()) - ord("A")
    elif re.fullmatch(r"\d{1,9}", text):
        number = int(text)
    else:
        return None
    return number if number < len(choices) else None


def _keys(record: Mapping[str, Any]) -> str:
    return (", ".join(map(str, record)) or "none")[:200]
