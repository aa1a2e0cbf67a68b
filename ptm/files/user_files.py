"""Reading the files that a user names: regular files only, of bounded size and depth."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from ptm.errors import UserError
from ptm.files.reading import FileContentError, open_regular
from ptm.limits import MOST_JSON_BYTES, MOST_JSON_DEPTH, MOST_TEXT_BYTES


def open_file(path: str | Path, *, name: str = "") -> BinaryIO:
    """Open a regular file for reading.

    `name` is used in messages instead of the path. Raises UserError if it cannot be opened, or is a
    FIFO, on which opening would wait for ever, or a device, which may have no end.
    """
    name = name or str(path)
    try:
        return open_regular(Path(path))
    except OSError as error:
        raise UserError(f"{name}: cannot be read: {error.strerror}.") from error
    except FileContentError as error:
        raise UserError(f"{name}: cannot be read: {error}. Give a regular file.") from error
    except ValueError as error:
        # A NUL, or a surrogate that no file name can have.
        raise UserError(f"{name}: no file can have this name ({error}).") from error


def read_bytes(path: str | Path, *, most: int, name: str = "") -> bytes:
    """The content of a regular file of at most `most` bytes. Raises UserError."""
    with open_file(path, name=name) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise UserError(
                f"{name or path}: the file has {size:,} bytes, and at most {most:,} are read."
            )
        try:
            return file.read()
        except OSError as error:
            raise UserError(f"{name or path}: cannot be read: {error.strerror}.") from error


def read_text(path: str | Path, *, most: int = MOST_TEXT_BYTES, name: str = "") -> str:
    """The content of a UTF-8 file, without a byte-order mark; line ends are as in the file.

    Raises UserError if the file cannot be read or decoded.
    """
    data = read_bytes(path, most=most, name=name)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{name or path}: the file is not valid UTF-8 at byte {error.start}."
        ) from error
    return text.removeprefix("\ufeff")


def read_lines(path: str | Path, *, most: int = MOST_TEXT_BYTES, name: str = "") -> list[str]:
    """The lines of a UTF-8 file, without their ends: a newline, or CR LF. Raises UserError."""
    lines = read_text(path, most=most, name=name).split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.rstrip("\r") for line in lines]


def read_json(
    path: str | Path,
    *,
    most: int = MOST_JSON_BYTES,
    pairs: Callable[[list[tuple[str, Any]]], Any] | None = None,
) -> Any:
    """The value of a JSON file; `pairs` makes an object of its members, by default a dict.

    Raises UserError if the file cannot be read, is not JSON or is nested too deep.
    """
    return parse_json(read_text(path, most=most), name=str(path), pairs=pairs)


def parse_json(
    text: str, *, name: str, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None
) -> Any:
    """The value of a JSON text; `name` is used in messages. Raises UserError, as `read_json`."""
    try:
        value = json.loads(text, object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{name}:{error.lineno}: the file is not valid JSON ({error.msg})."
        ) from error
    except RecursionError as error:
        raise _too_deep(name) from error
    except ValueError as error:
        # A number with more digits than Python converts.
        raise UserError(f"{name}: the file is not valid JSON ({error}).") from error
    # Level by level, as a recursion would itself be too deep.
    level = _blocks([value])
    for _ in range(MOST_JSON_DEPTH):
        if not level:
            break
        level = [inner for one in level for inner in _blocks(one)]
    if level:
        raise _too_deep(name)
    return value


def _too_deep(name: str) -> UserError:
    return UserError(f"{name}: the JSON is nested more than {MOST_JSON_DEPTH} deep.")


def _blocks(values: Any) -> list[Any]:
    """The objects and arrays among the members of an object or array."""
    members = values.values() if isinstance(values, dict) else values
    return [one for one in members if isinstance(one, dict | list)]
