"""Corpus files: found by path, glob or list, plain or compressed, read block by block.

A block contains whole documents: it is cut only at document boundaries. Blocks can therefore be
tokenised by any process, in any order. The blocks of a file depend only on its bytes, the layout
and the block size.
"""

from __future__ import annotations

import glob
import gzip
import lzma
import os
import stat
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, cast

import zstandard

from ptm.errors import UserError
from ptm.limits import LARGEST_DOCUMENT, LONGEST_LINE
from ptm.text.other_formats import check_is_text

Layout = Literal["documents", "sentences", "pairs", "labelled"]

_GROWN_BLOCK = 2**23
"""Bytes of text up to which blocks grow."""
_COMPRESSED = (".gz", ".xz", ".zst")
_UTF16_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")
_UTF8_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# With a larger share of undecodable lines the file is in another encoding, not merely flawed.
_INVALID_SHARE = 0.01


@dataclass(frozen=True)
class CorpusFile:
    """One file of a corpus, with its size in bytes and its modification time when it was found."""

    path: str
    bytes: int
    modified_ns: int

    @property
    def compressed(self) -> bool:
        """Whether the file has to be decompressed."""
        return self.path.endswith(_COMPRESSED)


@dataclass(frozen=True)
class FirstLine:
    """The first line of a file that is text and not blank, with its number, from 1."""

    number: int
    text: str


@dataclass(frozen=True)
class Block:
    """Whole documents of one file: their raw bytes and their position in the file."""

    file: int
    """Index of the file in the corpus."""
    number: int
    """Index of the block in the file, from 0."""
    data: bytes
    """The text, decompressed."""
    bytes_read: int
    """Bytes of the stored (maybe compressed) file that were read up to the end of this block."""
    path: str
    first_line: int
    """Line number in the file, from 1, of the block's first line."""
    opening: FirstLine | None = None
    """The file's first line of text, from which every block knows the columns; with layout
    `labelled` only."""


def find_corpus(patterns: Sequence[str], *, field: str = "data.corpus") -> tuple[CorpusFile, ...]:
    """Expand `patterns` (paths and globs) to files, in order and without duplicates.

    `field` is the recipe key that messages name. Raises UserError if a file is missing, unreadable,
    empty or a folder, or if a glob matches no file.
    """
    paths: list[str] = []
    for pattern in patterns:
        # Path.glob does not support absolute patterns.
        found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
        matches = found if glob.has_magic(pattern) and not Path(pattern).exists() else [pattern]
        matches = [match for match in matches if not Path(match).is_dir() or match == pattern]
        if not matches:
            raise UserError(
                f'{field}: no file matches "{pattern}" (current directory: {Path.cwd()}).'
            )
        paths += matches
    once = {os.path.realpath(path): path for path in reversed(paths)}
    return tuple(_corpus_file(path, field) for path in reversed(once.values()))


def _corpus_file(path: str, field: str) -> CorpusFile:
    file = Path(path)
    if file.is_dir():
        raise UserError(f'{field}: "{path}" is a folder. Give its files, e.g. "{path}/*.txt".')
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


class CorpusReader:
    """Reads one file as blocks of whole documents.

    `index` is the file's index in the corpus. A block has `block_bytes` bytes of text, plus or
    minus a document.
    """

    def __init__(self, file: CorpusFile, *, index: int, layout: Layout, block_bytes: int) -> None:
        self._file = file
        self._index = index
        self._layout = layout
        self._block_bytes = block_bytes

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks in order. Raises UserError if the file is damaged or is not text."""
        with Path(self._file.path).open("rb") as raw:
            data, number, line = bytearray(), 0, 1
            # Where the last line of `data` begins.
            begins = 0
            opening: FirstLine | None = None
            stream = self._decompressed(raw)
            while True:
                chunk = self._read(stream, self._bytes_of(number))
                if number == 0 and not data:
                    chunk = self._strip_byte_order_mark(chunk)
                    check_is_text(self._file.path, chunk, self._layout)
                if b"\0" in chunk:
                    raise UserError(
                        f"{self._file.path}: the file contains NUL bytes, so it is not text. "
                        "A corpus must be UTF-8 text, plain or compressed as .gz, .xz or .zst."
                    )
                # A boundary may begin with the last two bytes that were there.
                new = max(0, len(data) - 2)
                data += chunk
                begins = max(begins, data.rfind(b"\n", new) + 1)
                # An empty chunk is the end of the file: the rest is a document without line end.
                cut = len(data) if not chunk else self._last_boundary(data, new)
                if len(data) - cut > LARGEST_DOCUMENT:
                    raise UserError(
                        f"{self._file.path}: one document is larger than "
                        f"{LARGEST_DOCUMENT // 2**20} MB. {self._advice()}"
                    )
                if len(data) - begins > LONGEST_LINE:
                    raise self._long_line(line + data.count(b"\n"))
                if cut:
                    block = bytes(data[:cut])
                    del data[:cut]
                    begins = max(0, begins - cut)
                    self._check_lines(block, line)
                    if self._layout == "labelled" and opening is None:
                        opening = _first_line(block, line)
                    yield Block(
                        self._index, number, block, raw.tell(), self._file.path, line, opening
                    )
                    number, line = number + 1, line + block.count(b"\n")
                if not chunk:
                    return

    def _bytes_of(self, number: int) -> int:
        """Bytes of text to read for block `number`.

        Blocks grow, so that a small compressed file of much text has few shards.
        """
        return max(self._block_bytes, min(self._block_bytes << min(number // 64, 32), _GROWN_BLOCK))

    def _check_lines(self, block: bytes, first: int) -> None:
        """Raise UserError if a line of `block` is too long; `first`: the number of its first line.

        Jumps from line end to line end, each time as far as one line may reach.
        """
        at = 0
        while len(block) - at > LONGEST_LINE:
            end = block.rfind(b"\n", at, at + LONGEST_LINE + 1)
            if end < 0:
                raise self._long_line(first + block.count(b"\n", 0, at))
            at = end + 1

    def _long_line(self, number: int) -> UserError:
        return UserError(
            f"{self._file.path}:{number}: the line is longer than {LONGEST_LINE // 2**20} MB, and "
            f"tokenising it would take gigabytes of memory. {self._advice()}"
        )

    def _advice(self) -> str:
        if self._layout == "sentences":
            return (
                "With data.layout: sentences an empty line ends a document, but none was found. "
                "If each line is a document, set data.layout: documents."
            )
        what = {"pairs": "pair", "labelled": "labelled text"}.get(self._layout, "document")
        return (
            f"With data.layout: {self._layout} each line is a {what}. Check that the file has "
            "line ends."
        )

    def _read(self, stream: BinaryIO, size: int) -> bytes:
        try:
            return stream.read(size)
        except (OSError, EOFError, lzma.LZMAError, zlib.error, zstandard.ZstdError) as error:
            raise UserError(
                f"{self._file.path}: the file is damaged, or its suffix is wrong ({error})."
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

    def _strip_byte_order_mark(self, chunk: bytes) -> bytes:
        if chunk.startswith(_UTF16_BYTE_ORDER_MARKS):
            raise UserError(
                f"{self._file.path}: the file is UTF-16 text (it starts with a UTF-16 byte-order "
                "mark). Convert it to UTF-8, e.g. `iconv -f UTF-16 -t UTF-8`."
            )
        return chunk.removeprefix(_UTF8_BYTE_ORDER_MARK)

    def _last_boundary(self, data: bytearray, new: int) -> int:
        """The offset in `data` after its last whole document; 0 if it has no whole document.

        There is no boundary before `new`, where a search begins: searching all of it again would
        take quadratic time in a large document.
        """
        if self._layout != "sentences":
            return data.rfind(b"\n", new) + 1
        plain, dos = data.rfind(b"\n\n", new), data.rfind(b"\n\r\n", new)
        return max(plain + 2 if plain >= 0 else 0, dos + 3 if dos >= 0 else 0)


def _first_line(data: bytes, number: int) -> FirstLine | None:
    """The first line of `data` that is UTF-8 and not blank; `number` is that of its first line."""
    at = 0
    while at < len(data):
        end = data.find(b"\n", at)
        raw = data[at : end if end >= 0 else len(data)]
        with suppress(UnicodeDecodeError):
            if (text := raw.decode("utf-8")).strip():
                return FirstLine(number, text)
        at, number = at + len(raw) + 1, number + 1
    return None


class _ZstandardFile:
    """Reads .zst frame by frame and raises EOFError if the file ends in the middle of a frame.

    zstandard's own `stream_reader(read_across_frames=True)` ends without an error in that case:
    a file cut by 5 bytes gave 1,179,648 of 1,200,000 bytes.
    """

    _CHUNK = 2**9
    """Bytes read at once. zstd packs up to 128 KB of text into 4 bytes, all of which come out."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._started = False
        self._ready = bytearray()

    def read(self, size: int) -> bytes:
        """Return `size` bytes, fewer at the end. Raises EOFError if the file is truncated."""
        while len(self._ready) < size:
            chunk = self._raw.read(self._CHUNK)
            if not chunk:
                if self._started and not self._frame.eof:
                    raise EOFError("the compressed data are truncated")
                break
            self._feed(chunk)
        data = bytes(self._ready[:size])
        del self._ready[:size]
        return data

    def _feed(self, chunk: bytes) -> None:
        while chunk:
            if self._frame.eof:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            self._started = True
            self._ready += self._frame.decompress(chunk)
            chunk = self._frame.unused_data if self._frame.eof else b""


@dataclass(frozen=True)
class ParsedBlock:
    """The decoded documents of a block, and counts of its lines."""

    documents: list[list[str]]
    """Documents, each a list of its sentences. With layout `documents` each has one; with layout
    `pairs` each has two, source and target, and either may be empty; with layout `labelled` each
    has one or two texts, none of them empty."""
    lines: int
    """All lines of the block, blank and invalid ones included."""
    blank: int
    invalid: int
    """Lines that are not UTF-8."""
    first_invalid: int | None
    """Index in the block, from 0, of the first line that is not UTF-8."""
    labels: list[int] | None = None
    """The class index of each document, with layout `labelled`."""


def check_encoding(path: str, *, lines: int, invalid: int, first: int) -> None:
    """Raise UserError if more than 1 % of a file's lines are not UTF-8.

    `lines` and `invalid` are counts, `first` is the number (from 1) of the first invalid line.
    """
    if invalid > _INVALID_SHARE * lines:
        raise UserError(
            f"{path}:{first}: the line is not valid UTF-8 (invalid lines: {invalid} of {lines}). "
            "Convert the file, e.g. `iconv -f GB18030 -t UTF-8`."
        )


@dataclass(frozen=True)
class DecodedLines:
    """The lines of a block as text, and how many could not be decoded."""

    texts: list[str | None]
    """One entry per line; None if the line is not UTF-8."""
    invalid: int
    first_invalid: int | None
    """Index, from 0, of the first line that is not UTF-8."""


def decode_lines(data: bytes) -> DecodedLines:
    """Decode the lines of a block. The last line may lack its newline."""
    texts: list[str | None] = []
    try:
        # At once, which is faster than line by line; nearly all blocks are valid.
        texts += data.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        return _decode_each_line(data)
    if not texts[-1]:
        texts.pop()
    return DecodedLines(texts, 0, None)


def _decode_each_line(data: bytes) -> DecodedLines:
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


def parse_block(data: bytes, layout: Layout) -> ParsedBlock:
    """Decode a block with layout `documents` or `sentences`.

    Lines that are not UTF-8 are left out and counted.
    """
    lines = decode_lines(data)
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
    return ParsedBlock(documents, len(lines.texts), blank, lines.invalid, lines.first_invalid)
