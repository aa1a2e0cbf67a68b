"""Corpus files that change while they are read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ptm.errors import UserError
from ptm.text.corpus import CorpusReader
from tests.support.corpora import COMPRESS, FORMATS, recognised

LINES = "".join(f"document {number}\n" for number in range(50_000)).encode()
RECORDS = [{"text": f"document {number}"} for number in range(50_000)]
CONTENTS = {
    ".txt": LINES,
    ".txt.gz": COMPRESS[".gz"](LINES),
    ".jsonl": FORMATS[".jsonl"](RECORDS),
    ".parquet": FORMATS[".parquet"](RECORDS[:500]),
    ".arrow": FORMATS[".arrow"](RECORDS[:500]),
}
LONG_AGO = 1_600_000_000 * 10**9
"""A modification time in ns. Two writes within milliseconds may have the same time."""


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(path.read_bytes())


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more\n")


def replace(path: Path) -> None:
    """Another file of the same size and time takes the place of the file."""
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(LONG_AGO, LONG_AGO))
    other.replace(path)


@pytest.mark.parametrize("suffix", CONTENTS)
@pytest.mark.parametrize("change", [truncate, overwrite, append, replace, Path.unlink])
def test_a_file_that_changes_while_it_is_read_is_an_error(
    tmp_path: Path, suffix: str, change: Callable[[Path], None]
) -> None:
    path = tmp_path / f"corpus{suffix}"
    path.write_bytes(CONTENTS[suffix])
    os.utime(path, ns=(LONG_AGO, LONG_AGO))
    reader = CorpusReader(recognised(path), index=0, layout="documents", block_bytes=2**12)
    blocks = reader.blocks()
    next(blocks)
    change(path)
    with pytest.raises(UserError, match=rf"corpus\{suffix}: the file changed while it was read"):
        list(blocks)


def test_a_file_that_changed_before_it_was_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes(LINES)
    file = recognised(path)
    path.write_bytes(LINES[:100])
    reader = CorpusReader(file, index=0, layout="documents", block_bytes=2**12)
    with pytest.raises(UserError, match=r"corpus\.txt: the file changed while it was read"):
        list(reader.blocks())
