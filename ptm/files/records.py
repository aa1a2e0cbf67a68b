"""JSON that ptm wrote earlier, read as pydantic models, whose parser limits its depth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from ptm.files.reading import FileContentError, read_bytes
from ptm.validation import first_problem

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")


def read_json(path: Path, model: type[M], *, limit: int) -> M:
    """Return a JSON file as an instance of `model`. Raises OSError or FileContentError."""
    return parse_json(read_bytes(path, limit=limit), model)


def parse_json(content: bytes | str, model: type[M]) -> M:
    """Parse JSON as an instance of `model`. Raises FileContentError naming the wrong key."""
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        raise FileContentError(first_problem(error)) from error


def parse_json_as(content: bytes | str, adapter: TypeAdapter[T]) -> T:
    """As `parse_json`, for a type that is not a model. Raises FileContentError."""
    try:
        return adapter.validate_json(content)
    except ValidationError as error:
        raise FileContentError(first_problem(error)) from error


def read_json_lines(
    path: Path, model: type[M], *, limit: int
) -> Iterator[tuple[int, M | FileContentError]]:
    """Yield each line's number, from 1, and its record, or the reason why it is damaged.

    A last line that does not end in a line break is left out: it was being written. Raises OSError
    or FileContentError if the file as a whole cannot be read.
    """
    *lines, _unfinished = read_bytes(path, limit=limit).split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            yield number, parse_json(line, model)
        except FileContentError as error:
            yield number, error
