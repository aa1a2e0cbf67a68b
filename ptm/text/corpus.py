"""Corpus files: found by path, glob or list, plain or compressed, read block by block.

A block holds whole documents: it is cut only where a document ends, so that blocks can be tokenised
anywhere, in any order, and a file's blocks depend on nothing but its bytes and the block size.
"""

from __future__ import annotations

import glob
import gzip
import lzma
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, cast

import zstandard

from ptm.errors import UserError

Layout = Literal["documents", "sentences", "pairs"]

# A document as large as this is a file that has no document boundaries at all.
LARGEST_DOCUMENT = 256 * 2**20
_COMPRESSED = (".gz", ".xz", ".zst")
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_UTF8_MARK = b"\xef\xbb\xbf"

# More than this share of undecodable lines is a file in another encoding, not a flaw in a corpus.
_INVALID_SHARE = 0.01


@dataclass(frozen=True)
class CorpusFile:
    """One file of a corpus, as it was when it was found."""

    path: str
    bytes: int
    modified_ns: int

    @property
    def compressed(self) -> bool:
        """Whether the file has to be decompressed."""
        return self.path.endswith(_COMPRESSED)


@dataclass(frozen=True)
class Block:
    """Whole documents of one file: its raw bytes and where they stand."""

    file: int
    number: int
    data: bytes
    bytes_read: int
    """Bytes of the file (as stored) consumed up to the end of this block."""
    path: str
    first_line: int
    """Number within the file, from 1, of the block's first line."""


def find_corpus(patterns: Sequence[str], *, field: str = "data.corpus") -> tuple[CorpusFile, ...]:
    """The files that `patterns` name, each once, in order.

    Raises UserError where a file is missing, empty or a folder.
    """
    paths: list[str] = []
    for pattern in patterns:
        # Path.glob takes no absolute patterns.
        found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
        matches = found if glob.has_magic(pattern) and not Path(pattern).exists() else [pattern]
        matches = [match for match in matches if not Path(match).is_dir() or match == pattern]
        if not matches:
            raise UserError(f'{field}: no file matches "{pattern}" (from {Path.cwd()}).')
        paths += matches
    once = {os.path.realpath(path): path for path in reversed(paths)}
    return tuple(_corpus_file(path, field) for path in reversed(once.values()))


def _corpus_file(path: str, field: str) -> CorpusFile:
    file = Path(path)
    if file.is_dir():
        raise UserError(f'{field}: "{path}" is a folder; name its files, e.g. "{path}/*.txt".')
    try:
        status = file.stat()
        with file.open("rb"):
            pass
    except OSError as error:
        raise UserError(f'{field}: "{path}" cannot be read: {error.strerror}.') from error
    if status.st_size == 0:
        raise UserError(f"{path}: the corpus file is empty.")
    return CorpusFile(path=path, bytes=status.st_size, modified_ns=status.st_mtime_ns)


class CorpusReader:
    """Reads one file as blocks of about `block_bytes` of text, each ending with a document."""

    def __init__(self, file: CorpusFile, *, index: int, layout: Layout, block_bytes: int) -> None:
        self._file = file
        self._index = index
        self._layout = layout
        self._block_bytes = block_bytes

    def blocks(self) -> Iterator[Block]:
        """The blocks in order. Raises UserError for files that are not text."""
        with Path(self._file.path).open("rb") as raw:
            pending, number, line = b"", 0, 1
            stream = self._decompressed(raw)
            while True:
                chunk = self._read(stream)
                if number == 0 and not pending:
                    chunk = self._without_mark(chunk)
                if b"\0" in chunk:
                    raise UserError(
                        f"{self._file.path}: holds NUL bytes, so it is not a text file. A corpus "
                        "is UTF-8 text, plain or compressed as .gz, .xz or .zst."
                    )
                data = pending + chunk
                cut = len(data) if not chunk else self._last_boundary(data)
                if len(data) - cut > LARGEST_DOCUMENT:
                    raise UserError(
                        f"{self._file.path}: one document is larger than "
                        f"{LARGEST_DOCUMENT // 2**20} MB: {self._advice()}"
                    )
                pending = data[cut:]
                if cut:
                    block = data[:cut]
                    yield Block(
                        self._index, number, block, raw.tell(), self._file.path, first_line=line
                    )
                    number, line = number + 1, line + block.count(b"\n")
                if not chunk:
                    return

    def _advice(self) -> str:
        if self._layout == "sentences":
            return (
                "in the layout `sentences` an empty line ends a document and this file has none. "
                "If a line is a document, set data.layout: documents."
            )
        what = "pair" if self._layout == "pairs" else "document"
        return (
            f"in the layout `{self._layout}` a line is a {what}. Is this a text file with line "
            "ends?"
        )

    def _read(self, stream: BinaryIO) -> bytes:
        try:
            return stream.read(self._block_bytes)
        except (OSError, EOFError, lzma.LZMAError, zlib.error, zstandard.ZstdError) as error:
            raise UserError(
                f"{self._file.path}: is damaged or not what its name says ({error})."
            ) from error

    def _decompressed(self, raw: BinaryIO) -> BinaryIO:
        suffix = Path(self._file.path).suffix
        if suffix == ".gz":
            return cast(BinaryIO, gzip.GzipFile(fileobj=raw))
        if suffix == ".xz":
            return cast(BinaryIO, lzma.LZMAFile(raw))
        if suffix == ".zst":
            return cast(BinaryIO, _ZstandardFile(raw))
        return raw

    def _without_mark(self, chunk: bytes) -> bytes:
        if chunk.startswith(_UTF16_MARKS):
            raise UserError(
                f"{self._file.path}: is UTF-16 text (it begins with its byte-order mark). "
                "Convert it to UTF-8, e.g. `iconv -f UTF-16 -t UTF-8`."
            )
        return chunk.removeprefix(_UTF8_MARK)

    def _last_boundary(self, data: bytes) -> int:
        """The end of the last whole document in `data`, 0 where there is none."""
        if self._layout != "sentences":
            return data.rfind(b"\n") + 1
        plain, dos = data.rfind(b"\n\n"), data.rfind(b"\n\r\n")
        return max(plain + 2 if plain >= 0 else 0, dos + 3 if dos >= 0 else 0)


class _ZstandardFile:
    """Reads .zst, frame after frame, and notices where a file ends in the middle of one.

    zstandard's own `stream_reader(read_across_frames=True)` ends without an error there.
    """

    _CHUNK = 2**17

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._begun = False
        self._ready = bytearray()

    def read(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end. Raises EOFError for a file cut short."""
        while len(self._ready) < size:
            chunk = self._raw.read(self._CHUNK)
            if not chunk:
                if self._begun and not self._frame.eof:
                    raise EOFError("the compressed data end too early")
                break
            self._feed(chunk)
        data = bytes(self._ready[:size])
        del self._ready[:size]
        return data

    def _feed(self, chunk: bytes) -> None:
        while chunk:
            if self._frame.eof:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            self._begun = True
            self._ready += self._frame.decompress(chunk)
            chunk = self._frame.unused_data if self._frame.eof else b""


@dataclass(frozen=True)
class Lines:
    """The decoded documents of a block and what was wrong with its lines."""

    documents: list[list[str]]
    """Documents, each a list of its sentences (one, in the layout `documents`; in the layout
    `pairs` source and target, of which either may be empty)."""
    lines: int
    blank: int
    invalid: int
    first_invalid: int | None
    """Number within the block, from 0, of the first line that is not UTF-8."""


def refuse_other_encoding(path: str, *, lines: int, invalid: int, first: int) -> None:
    """Raise UserError where too many of `lines` are not UTF-8, the first of them line `first`."""
    if invalid > _INVALID_SHARE * lines:
        raise UserError(
            f"{path}:{first}: is not UTF-8, and so are {invalid} of {lines} lines. "
            "Convert the file, e.g. `iconv -f GB18030 -t UTF-8`."
        )


@dataclass(frozen=True)
class DecodedLines:
    """The lines of a block as text, and which of them are none."""

    texts: list[str | None]
    """None: the line is not UTF-8."""
    invalid: int
    first_invalid: int | None


def decoded_lines(data: bytes) -> DecodedLines:
    """The lines of a block, of which the last may lack its end."""
    raw_lines = data.split(b"\n")
    if raw_lines and not raw_lines[-1]:
        raw_lines.pop()
    texts: list[str | None] = []
    invalid, first_invalid = 0, None
    for number, raw in enumerate(raw_lines):
        try:
            texts.append(raw.decode("utf-8"))
        except UnicodeDecodeError:
            texts.append(None)
            invalid += 1
            first_invalid = number if first_invalid is None else first_invalid
    return DecodedLines(texts, invalid, first_invalid)


def parse_block(data: bytes, layout: Layout) -> Lines:
    """Decode a block of single texts. Lines that are not UTF-8 are left out and counted."""
    lines = decoded_lines(data)
    documents: list[list[str]] = []
    current: list[str] = []
    blank = 0
    for text in lines.texts:
        if text is None:
            continue
        line = text.strip()
        if not line:
            blank += 1
            if current:
                documents.append(current)
                current = []
        elif layout == "documents":
            documents.append([line])
        else:
            current.append(line)
    if current:
        documents.append(current)
    return Lines(documents, len(lines.texts), blank, lines.invalid, lines.first_invalid)
