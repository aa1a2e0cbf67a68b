"""Writing files so that each has its old or its new content at any time."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from ptm.files.kinds import TOKEN


def temporary_name(path: Path, suffix: str = ".partial") -> Path:
    """An unguessable path beside `path`: `NAME.<8 hexadecimal digits>.partial`."""
    return path.with_name(f"{path.name}.{secrets.token_hex(4)}{suffix}")


def temporary_target(path: Path, suffix: str = ".partial") -> Path | None:
    """The path for which `temporary_name` made `path`, or None for any other name."""
    found = re.fullmatch(rf"(.+)\.{TOKEN}{re.escape(suffix)}", path.name)
    return path.with_name(found[1]) if found else None


def write_file(path: Path, text: str, *, sync: bool = False) -> None:
    """Replace a small text file atomically. `sync`: it survives a power cut once this returns.

    Raises OSError; the file is then unchanged.
    """
    data = text.encode("utf-8")
    replace_with(path, lambda file: file.write(data), sync=sync)


def replace_with(path: Path, write: Callable[[IO[bytes]], object], *, sync: bool = False) -> None:
    """Replace a file atomically by what `write` writes into the file that it is given.

    The file is written under an unguessable name beside `path`, so that no other file is
    overwritten. Raises OSError; `path` is then unchanged.
    """
    aside = temporary_name(path)
    try:
        with aside.open("xb") as file:
            write(file)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise
    if sync:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Fsync a folder, so that renames in it survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
