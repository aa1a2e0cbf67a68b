"""Records of JSON lines, CSV, TSV, parquet and Arrow files: their fields become documents.

A record is a document. With layout `sentences` each line of its text is a sentence. A record that
lacks a field, or whose field is no text, is left out and counted, as a damaged line is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ptm.errors import UserError
from ptm.limits import LONGEST_LINE, LONGEST_RECORD
from ptm.text.corpus.blocks import ParsedBlock
from ptm.text.corpus.files import Layout
from ptm.text.labels import LIST_SEPARATOR, LabelSet, MultiLabelSet

Row = tuple[int, tuple[Any, ...] | None, str]
"""The index of a record's first line in the block; the values of its fields, or None if it is
damaged (an empty tuple is a blank line); what is wrong with it, "" if it cannot be decoded."""

FIELD_OPTIONS: Mapping[str, str] = {
    "text": "--text-field",
    "text_b": "--text-b-field",
    "label": "--label-field",
    "tokens": "--text-field",
    "tags": "--label-field",
}
"""Role -> the option of a command that names its field. Other roles have none."""
ROLES: Mapping[Layout, tuple[str, ...]] = {
    "documents": ("text",),
    "sentences": ("text",),
    "pairs": ("source", "target"),
    "triplets": ("anchor", "positive", "negative"),
    "labelled": ("label", "text", "text_b"),
    "tagged": ("tokens", "tags"),
    "questions": ("id", "context", "question", "answers"),
    "choices": ("context", "question", "choices", "label"),
}
"""What the fields of a record are for, by layout. `text_b` is optional."""


def documents_of(
    rows: Iterable[Row],
    layout: Layout,
    *,
    fields: Sequence[str],
    labels: LabelSet | None,
    place: Callable[[int], str],
) -> ParsedBlock:
    """The documents of a block of records, with the counts of what was left out; `lines` is 0.

    Raises UserError if a line of text is too long, or a label is not one of `labels`.
    """
    documents: list[list[str]] = []
    classes: list[int] = []
    label_counts: list[int] = []
    problems: dict[int, str] = {}
    blank = ignored = 0
    for index, values, problem in rows:
        if values:
            problem = _problem_of(values, layout, fields, labels)
        elif values is not None:
            blank += 1
            continue
        if values is None or problem:
            problems[index] = problem
            continue
        document = _document(values, layout)
        if not document:
            blank += 1
            continue
        for text in document:
            # A character takes at most four bytes.
            if len(text) > LONGEST_LINE // 4 and len(text.encode()) > LONGEST_LINE:
                raise long_text(place(index))
        if labels is not None and label_text(values[0]).strip() in labels.ignored:
            ignored += 1
            continue
        if labels is not None:
            found = _classes_of(values[0], labels, place(index))
            classes += found
            label_counts.append(len(found))
        documents.append(document)
    first = min(problems, default=None)
    return ParsedBlock(
        documents,
        0,
        blank,
        len(problems),
        first,
        classes if labels is not None else None,
        label_counts if isinstance(labels, MultiLabelSet) else None,
        problem=problems[first] if first is not None else "",
        ignored=ignored,
    )


def _document(values: tuple[Any, ...], layout: Layout) -> list[str]:
    """The texts of a record; an empty list if it has none."""
    if layout == "documents":
        text = values[0].strip()
        return [text] if text else []
    if layout == "sentences":
        return [line for one in values[0].split("\n") if (line := one.strip())]
    if layout == "triplets":
        values = (*values[:2], *_several(values[2]))
    texts = [value.strip() for value in (values[1:] if layout == "labelled" else values)]
    return texts if any(texts) else []


def _problem_of(
    values: tuple[Any, ...], layout: Layout, fields: Sequence[str], labels: LabelSet | None
) -> str:
    """What is wrong with the values of a record's fields; "" if nothing is."""
    texts: Iterable[tuple[Any, str]] = zip(values, fields, strict=True)
    if layout == "triplets":
        if not _several(values[2]):
            return f'the field "{fields[2]}" is an empty list'
        texts = [*zip(values[:2], fields[:2], strict=True)]
        texts += [(text, fields[2]) for text in _several(values[2])]
    if layout == "labelled":
        texts = iter(texts)
        label, name = next(texts)
        number = isinstance(label, float) and (
            label.is_integer() or (labels is not None and str(label) in labels)
        )
        several = isinstance(labels, MultiLabelSet) and isinstance(label, list)
        if several and not all(isinstance(one, (str, int)) for one in label):
            return f'the field "{name}" has an element that is not a label'
        if not isinstance(label, (str, int)) and not number and not several:
            return f'the field "{name}" is {kind_of(label)}, not a label'
    for text, name in texts:
        if type(text) is not str:
            return f'the field "{name}" is {kind_of(text)}, not a text'
        if problem := unusable_text(text, name):
            return problem
        if layout in ("labelled", "triplets") and not text.strip():
            return f'the field "{name}" is empty'
    return ""


def _several(value: Any) -> list[Any]:
    """The negatives of a triplet: a text, or a list of them."""
    return value if isinstance(value, list) else [value]


def unusable_text(text: str, name: str) -> str:
    """Why no tokenizer can read a text, the value of the field `name`; "" if it can."""
    if "\0" in text:
        return f'the field "{name}" contains a NUL character'
    if not text.isascii() and _has_surrogate(text):
        return f'the field "{name}" contains bytes or escapes that are no characters'
    return ""


def _has_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def kind_of(value: Any) -> str:
    """What a value of a record is, in words."""
    if value is None:
        return "null"
    kinds = {bool: "true or false", int: "a number", float: "a number", list: "a list"}
    return kinds.get(type(value), "text" if isinstance(value, str) else "an object")


def label_text(label: Any) -> str:
    """A label of a record as it would be written in a line: `true`, `1` for 1.0.

    The labels of a list are separated by LIST_SEPARATOR.
    """
    if isinstance(label, list):
        return LIST_SEPARATOR.join(map(label_text, label))
    if isinstance(label, bool):
        return str(label).lower()
    whole = isinstance(label, float) and label.is_integer()
    return str(int(label)) if whole else str(label)


def _classes_of(label: Any, labels: LabelSet, place: str) -> tuple[int, ...]:
    try:
        return labels.indexes_of(label_text(label))
    except UserError as error:
        raise UserError(f"{place}: {error}") from error


def long_text(place: str) -> UserError:
    """The error of a text that is longer than the limit."""
    return UserError(
        f"{place}: the text has a line longer than {LONGEST_LINE // 2**20} MB, and tokenising it "
        "would take gigabytes of memory. Split the text, or remove the record."
    )


def long_record(place: str) -> UserError:
    """The error of a record that is longer than the limit."""
    return UserError(
        f"{place}: the record is longer than {LONGEST_RECORD // 2**20} MB. Usual reasons are a "
        "file without line ends and, in CSV and TSV, a quote that is never closed. Split or remove "
        "the record."
    )
