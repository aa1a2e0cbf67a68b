"""Corpus files behind a URL: `https://`, `hf://`, `s3://`, `gs://`, read through fsspec."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from threading import Thread
from typing import Any, BinaryIO, TypeVar, cast

from ptm.errors import UserError

T = TypeVar("T")

_EXTRAS = {"http": "remote", "https": "remote", "s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
"""Protocol -> the extra of ptm that reads it."""
_HTTP = ("http://", "https://")
_TIMES = ("LastModified", "last_modified", "Last-Modified", "mtime", "updated")
"""Names that filesystems of fsspec give to the modification time."""
_READ_AHEAD = 2**22
"""Bytes that one request fetches."""
ANSWER_SECONDS = 120.0
"""Seconds after which a call that a server has not answered is an error. The libraries try again
meanwhile."""
_NO_CREDENTIALS = ("NoCredentialsError", "DefaultCredentialsError", "RefreshError")
"""Names of exceptions of libraries that found no credentials."""
_LIBRARIES = ("gcsfs", "s3fs", "google")
"""Loggers whose tracebacks Python would print if they had no handler."""
_ANONYMOUS = {"s3": """FSSPEC_S3='{"anon": true}'""", "gs": """FSSPEC_GS='{"token": "anon"}'"""}
"""Protocol -> the environment variable that reads public files without credentials."""


class RemoteReadError(UserError):
    """A remote file could not be read, maybe for a moment only. Finished work stays valid."""


@dataclass(frozen=True)
class RemoteFile:
    """A file behind a URL; size, time and version are 0 and "" if the server does not give them."""

    path: str
    bytes: int
    modified_ns: int
    version: str


def is_remote(path: str) -> bool:
    """Whether a path of a recipe is a URL."""
    return "://" in path


def find_remote(pattern: str, *, field: str, suffixes: Callable[[str], bool]) -> list[RemoteFile]:
    """The files of a URL, a glob, or a folder (those with known `suffixes`), sorted by path.

    Raises UserError if the protocol needs a package that is absent, and RemoteReadError if nothing
    is found or the server does not answer.
    """

    def find() -> tuple[Any, list[str]]:
        system, path = _filesystem(pattern)
        # A URL of HTTP may hold ? and [ as plain characters.
        if "*" in pattern:
            return system, sorted(system.glob(path))
        if _is_folder(system, path, pattern):
            return system, sorted(one for one in system.find(path) if suffixes(one))
        return system, [path]

    where = f"{field}: "
    system, paths = _answer_of(find, pattern, where)
    if not paths:
        raise UserError(f'{field}: no file matches "{pattern}".')
    return [_answer_of(partial(_remote_file, system, one), pattern, where) for one in paths]


def describe_remote(path: str) -> RemoteFile:
    """A remote file as its server describes it now. Raises RemoteReadError."""

    def describe() -> RemoteFile:
        system, inner = _filesystem(path)
        system.invalidate_cache()
        return _described(path, system.info(inner))

    return _answer_of(describe, path)


@contextmanager
def open_remote(path: str, *, seek: bool) -> Iterator[BinaryIO]:
    """Open a remote file, with `seek` so that it can seek if its server sends ranges.

    Raises RemoteReadError.
    """

    def opened() -> tuple[Any, bool]:
        system, inner = _filesystem(path)
        # Over HTTP a file that is read from its beginning is one request, which any server answers.
        ranges = not path.startswith(_HTTP) or (seek and system.info(inner).get("partial", False))
        return system.open(inner, "rb", block_size=_READ_AHEAD if ranges else 0), ranges

    stream, ranges = _answer_of(opened, path)
    with stream:
        yield cast(BinaryIO, _RemoteStream(stream, path, can_seek=ranges))


class _RemoteStream:
    """A file of fsspec whose errors are RemoteReadErrors."""

    def __init__(self, stream: Any, path: str, *, can_seek: bool) -> None:
        self._stream = stream
        self._can_seek = can_seek
        self._path = path

    def read(self, size: int = -1) -> bytes:
        return cast(bytes, _answer_of(partial(self._stream.read, size), self._path))

    def seek(self, offset: int, whence: int = 0) -> int:
        return cast(int, _answer_of(partial(self._stream.seek, offset, whence), self._path))

    def tell(self) -> int:
        return cast(int, self._stream.tell())

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return self._can_seek

    @property
    def closed(self) -> bool:
        return bool(self._stream.closed)


def _filesystem(url: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise UserError(
            f"{url}: reading a URL needs fsspec. Install it: `pip install -e '.[remote]'`."
        ) from error
    for name in _LIBRARIES:
        logging.getLogger(name).addHandler(logging.NullHandler())
    try:
        found = url_to_fs(url, **_options(url))
    except ImportError as error:
        extra = _EXTRAS.get(url.split("://")[0])
        how = f": `pip install -e '.[{extra}]'`" if extra else f" ({error})"
        raise UserError(f"{url}: reading this URL needs a package. Install it{how}.") from error
    except ValueError as error:
        raise UserError(f"{url}: the protocol is not known to fsspec ({error}).") from error
    return cast(tuple[Any, str], found)


def _options(url: str) -> dict[str, Any]:
    """Options of the file system of a URL."""
    if not url.startswith(_HTTP):
        return {}
    from aiohttp import ClientTimeout

    # By default a transfer that takes five minutes is broken off.
    return {"client_kwargs": {"timeout": ClientTimeout(total=None, sock_connect=30)}}


def _answer_of(function: Callable[[], T], path: str, where: str = "") -> T:
    """The result of a call to a server or its library.

    Raises what either raises as RemoteReadError, as also if there is no result in `ANSWER_SECONDS`.
    """
    answer: Future[T] = Future()

    def call() -> None:
        try:
            answer.set_result(function())
        except BaseException as error:  # passed to the thread that waits
            answer.set_exception(error)

    # A thread that waits for ever must not keep the process from ending.
    Thread(target=call, daemon=True).start()
    try:
        return answer.result(ANSWER_SECONDS)
    except UserError:
        raise
    except Exception as error:  # each filesystem has exceptions of its own
        raise RemoteReadError(f'{where}"{path}" {_what_failed(error, answer, path)}.') from error


def _what_failed(error: Exception, answer: Future[Any], path: str) -> str:
    if not answer.done():
        return f"cannot be read: the server has not answered for {ANSWER_SECONDS:.0f} seconds"
    cause = error.__cause__ or error
    name = type(cause).__name__
    if isinstance(error, FileNotFoundError) and " " not in str(cause):
        # The message is a path as the library writes it.
        return "does not exist"
    reason = " ".join(str(cause).split()) if str(cause) not in ("", path) else name
    if name in _NO_CREDENTIALS:
        public = _ANONYMOUS.get(path.split("://")[0])
        advice = f", or {public} for public files" if public else ""
        return f"cannot be read: {reason.rstrip('.')}. Set credentials in the environment{advice}"
    return f"cannot be read: {reason.rstrip('.')}"


def _is_folder(system: Any, path: str, pattern: str) -> bool:
    # To know whether an HTTP URL is a folder, fsspec downloads it and looks for links.
    if pattern.startswith(_HTTP):
        return pattern.endswith("/")
    return bool(system.isdir(path))


def _remote_file(system: Any, path: str) -> RemoteFile:
    info = system.info(path)
    url = path if is_remote(path) else str(system.unstrip_protocol(path))
    if info.get("type") == "directory":
        raise UserError(f'"{url}" is a folder. Add a slash and a glob, e.g. "{url}/*.jsonl".')
    if info.get("size") == 0:
        raise UserError(f"{url}: the corpus file is empty.")
    return _described(url, info)


def _described(url: str, info: dict[str, Any]) -> RemoteFile:
    """What a filesystem of fsspec says about a file."""
    modified = next((info[key] for key in _TIMES if key in info), None)
    version = next((info[key] for key in ("ETag", "etag", "blob_id", "sha") if info.get(key)), "")
    if isinstance(modified, str):
        with suppress(ValueError):
            modified = parsedate_to_datetime(modified)
    if isinstance(modified, datetime):
        modified = modified.timestamp()
    time = int(modified * 1e9) if isinstance(modified, (int, float)) else 0
    return RemoteFile(url, info.get("size") or 0, time, str(version))
