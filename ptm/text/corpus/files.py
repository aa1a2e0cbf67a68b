"""Corpus files: found by path, folder, glob, URL or list of them."""

from __future__ import annotations

import glob
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ptm.errors import UserError
from ptm.escaping import shown_url
from ptm.files.kinds import MARKER
from ptm.text.corpus.remote import find_remote, is_remote

logger = logging.getLogger(__name__)

Layout = Literal[
    "documents",
    "sentences",
    "pairs",
    "triplets",
    "labelled",
    "tagged",
    "questions",
    "choices",
]
Format = Literal[
    "text",
    "json_lines",
    "csv",
    "csv_semicolon",
    "tsv",
    "parquet",
    "arrow",
    "conll",
    "squad",
    "choices",
]

FORMATS: tuple[Format, ...] = get_args(Format)
COLUMNAR: tuple[Format, ...] = ("parquet", "arrow")
COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")
SUFFIXES: dict[str, Format] = {
    **dict.fromkeys((".txt", ".text"), "text"),
    **dict.fromkeys((".jsonl", ".jsonlines", ".ndjson", ".json"), "json_lines"),
    ".csv": "csv",
    **dict.fromkeys((".tsv", ".tab"), "tsv"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
    **dict.fromkeys((".arrow", ".feather", ".ipc"), "arrow"),
}
"""Suffix, without that of a compression -> format."""


@dataclass(frozen=True)
class CorpusFile:
    """One file of a corpus, with its size in bytes and its modification time when it was found.

    `format`, `encoding`, `fields` and `quoting` are set by `ptm.text.corpus.recognise`.
    """

    path: str
    """A path or a URL."""
    bytes: int
    """0 if a server does not give the size."""
    modified_ns: int
    """0 if a server does not give the time."""
    format: Format = "text"
    encoding: str = "utf-8"
    """Name of a codec of Python."""
    fields: tuple[str, ...] = ()
    """Names of the fields that the layout needs, in the order of `ptm.text.corpus.roles`; empty
    for plain text."""
    roles: tuple[str, ...] = ()
    """The role of each field."""
    optional: tuple[str, ...] = ()
    """The fields that a record of JSON lines may lack."""
    quoting: bool | None = None
    """Whether the fields of CSV and TSV may be in double quotes; None: they may, unless these join
    records."""
    columns: tuple[str, ...] = ()
    """Names of the columns of CSV and TSV without a header; empty with a header."""
    version: str = ""
    """The version of a remote file, as its server names it."""

    @property
    def compressed(self) -> bool:
        """Whether the file has more text than bytes."""
        return self.path.endswith(COMPRESSIONS) or self.format in COLUMNAR

    def entry(self) -> dict[str, Any]:
        """The file as JSON values, for the manifest of a store.

        Defaults of tables are left out. A URL is without its secrets.
        """
        found: dict[str, Any] = {
            "path": shown_url(self.path),
            "bytes": self.bytes,
            "modified_ns": self.modified_ns,
            "format": self.format,
        }
        if self.format not in COLUMNAR:
            found["encoding"] = self.encoding
        if self.fields:
            found["fields"] = list(self.fields)
        if self.quoting is False:
            found["quoting"] = False
        if self.columns:
            found["columns"] = list(self.columns)
        if self.version:
            found["version"] = self.version
        return found


def suffix_of(path: str) -> str:
    """The last suffix of a path or URL, in lower case, without that of a compression."""
    name = Path(path.split("?")[0] if is_remote(path) else path)
    if name.suffix.lower() in COMPRESSIONS:
        name = name.with_suffix("")
    return name.suffix.lower()


def find_corpus(patterns: Sequence[str], *, field: str = "data.corpus") -> tuple[CorpusFile, ...]:
    """Expand `patterns` (paths, folders, globs, URLs) to files, in order and without duplicates.

    A folder stands for all files below it with a suffix of `SUFFIXES`, sorted by path. `field` is
    the recipe key that messages name. Logs a warning of files that are listed more than once.
    Raises UserError if a file is missing, unreadable or empty, or if a folder or glob has no file.
    """
    found: dict[str, CorpusFile] = {}
    repeated: list[str] = []
    for pattern in patterns:
        for key, file in _matching(pattern, field):
            if key in found:
                repeated.append(file.path)
            found.setdefault(key, file)
    if repeated:
        logger.warning(
            '%s: "%s" is listed more than once and is read once (files listed so: %d). Give a file '
            "more weight as a source of a mixture.",
            field,
            repeated[0],
            len(repeated),
        )
    return tuple(found.values())


def _matching(pattern: str, field: str) -> Iterator[tuple[str, CorpusFile]]:
    """The files of a pattern, each with a key that is the same for all spellings of its path."""
    if is_remote(pattern):
        for remote in find_remote(pattern, field=field, suffixes=_known):
            file = CorpusFile(remote.path, remote.bytes, remote.modified_ns)
            yield remote.path, _versioned(file, remote.version)
    else:
        for path in _local(pattern, field):
            yield os.path.realpath(path), _corpus_file(path, field)


def _versioned(file: CorpusFile, version: str) -> CorpusFile:
    return CorpusFile(file.path, file.bytes, file.modified_ns, version=version)


def _known(path: str) -> bool:
    return suffix_of(path) in SUFFIXES


def _local(pattern: str, field: str) -> list[str]:
    """The files of a path, folder or glob."""
    if Path(pattern).is_dir():
        below = sorted(path for path in _files_below(pattern) if _known(path))
        if not below:
            known = ", ".join(SUFFIXES)
            raise UserError(
                f'{field}: the folder "{pattern}" has no file with one of the suffixes {known}. '
                f'Give other files by a glob, e.g. "{pattern}/*".'
            )
        return below
    if not glob.has_magic(pattern) or Path(pattern).exists():
        return [pattern]
    # Path.glob does not support absolute patterns.
    found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
    matches = [match for match in found if not Path(match).is_dir()]
    if not matches:
        raise UserError(f'{field}: no file matches "{pattern}" (current directory: {Path.cwd()}).')
    return matches


def _files_below(folder: str) -> Iterator[str]:
    """All files below `folder` that are neither hidden nor in a folder that ptm wrote.

    Links to folders are not followed.
    """
    for parent, folders, names in os.walk(folder):
        if parent != folder and MARKER in names:
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (str(Path(parent, name)) for name in names if not name.startswith("."))


def _corpus_file(path: str, field: str) -> CorpusFile:
    file = Path(path)
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f'{field}: "{path}" is a FIFO or a device. Give a regular file.')
        with file.open("rb"):
            pass
    except OSError as error:
        raise UserError(f'{field}: "{path}" cannot be read: {error.strerror}.') from error
    if status.st_size == 0:
        raise UserError(f"{path}: the corpus file is empty.")
    return CorpusFile(path=path, bytes=status.st_size, modified_ns=status.st_mtime_ns)
