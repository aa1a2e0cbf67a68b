"""JSON lines: one object per line, whose fields are found by name or by a dotted path."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from ptm.errors import nearest
from ptm.text.corpus.blocks import Block, RecordFormat
from ptm.text.corpus.lines import decode_lines
from ptm.text.corpus.records import Row

_MISSING = object()
_DECODER = json.JSONDecoder()
_FIELDS_SHOWN = 20
UNDECODABLE = "the line is not valid UTF-8"
_DEEPEST_SHOWN = 5
"""Levels of nested objects in a path."""


def json_objects(block: Block) -> Iterator[tuple[int, dict[str, Any] | None, str]]:
    """The objects of a block, each with the index of its line.

    None is a blank line, or a damaged one if a text says what is wrong with it.
    """
    lines = decode_lines(block.data)
    decode = _DECODER.raw_decode
    for index, raw in enumerate(lines.texts):
        if raw is None:
            yield index, None, lines.problem or UNDECODABLE
            continue
        line = raw.strip()
        if not line:
            yield index, None, ""
            continue
        try:
            record, end = decode(line)
        except (ValueError, RecursionError) as error:
            yield index, None, f"the line is not JSON ({_reason(error)})"
            continue
        if end != len(line) or type(record) is not dict:
            yield index, None, "the line is not one JSON object"
        else:
            yield index, record, ""


def json_rows(block: Block, records: RecordFormat) -> Iterator[Row]:
    """The rows of a block; a line that is no object, or lacks a field, has a problem."""
    fields = [Field(name) for name in records.fields]
    for index, record, problem in json_objects(block):
        if record is None:
            yield index, None if problem else (), "" if problem == UNDECODABLE else problem
            continue
        values = tuple([field.of(record) for field in fields])
        if _MISSING in values and records.optional:
            values = tuple(
                None if value is _MISSING and field.name in records.optional else value
                for field, value in zip(fields, values, strict=True)
            )
        if _MISSING in values:
            missing = fields[values.index(_MISSING)]
            yield index, None, missing.absence(record)
        else:
            yield index, values, ""


class Field:
    """A field of a JSON object: the key `name`, or else the dotted path `name`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._path = name.split(".")

    def of(self, record: dict[str, Any]) -> Any:
        """The value in `record`, or a marker if it is absent."""
        value = record.get(self.name, _MISSING)
        if value is not _MISSING or len(self._path) == 1:
            return value
        inner: Any = record
        for key in self._path:
            if type(inner) is list and key.isdecimal() and int(key) < len(inner):
                inner = inner[int(key)]
            elif type(inner) is dict and key in inner:
                inner = inner[key]
            else:
                return _MISSING
        return inner

    def is_in(self, record: dict[str, Any]) -> bool:
        """Whether `record` has the field."""
        return self.of(record) is not _MISSING

    def absence(self, record: dict[str, Any]) -> str:
        """A sentence that says that the field is absent, and which fields `record` has."""
        return f'the record has no field "{self.name}".{nearest(self.name, paths_of(record))}'


def paths_of(record: dict[str, Any]) -> list[str]:
    """The dotted paths of the fields of `record`; of nested objects those of their fields."""
    return list(islice(_paths(record, _DEEPEST_SHOWN), _FIELDS_SHOWN))


def _paths(record: dict[str, Any], depth: int) -> Iterator[str]:
    for key, value in record.items():
        if isinstance(value, dict) and value and depth > 1:
            yield from (f"{key}.{inner}" for inner in _paths(value, depth - 1))
        else:
            yield key


def objects_in(lines: Sequence[str]) -> list[dict[str, Any]] | None:
    """The objects of `lines`; None unless each line is a JSON object."""
    found = []
    for line in lines:
        if not (line.startswith("{") and line.endswith("}")):
            return None
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            return None
        found.append(value)
    return found


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos + 1}"
    return "too deeply nested" if isinstance(error, RecursionError) else "a number is too long"
