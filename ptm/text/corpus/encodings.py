"""Encodings of corpora: a stream in any of them becomes UTF-8 with LF (or CR LF) line ends.

What follows, the cutter and the parser of lines, knows UTF-8 only. A line that cannot be decoded
becomes a line that is not UTF-8, so that the parser leaves it out and counts it.
"""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

from ptm.errors import UserError, nearest
from ptm.limits import LONGEST_RECORD
from ptm.text.corpus.checks import INVALID_SHARE, decodes
from ptm.text.corpus.files import CorpusFile
from ptm.text.corpus.lines import LineEnds
from ptm.text.corpus.streams import CorpusStream, open_stream

if TYPE_CHECKING:
    from charset_normalizer import CharsetMatch

DETECT = "detect"
_MULTIBYTE = (
    *("gb18030", "gbk", "gb2312", "big5", "big5hkscs", "cp950"),
    *("shift_jis", "cp932", "shift_jisx0213", "shift_jis_2004"),
    *("euc_jp", "euc_jisx0213", "euc_jis_2004", "iso2022_jp"),
    *("euc_kr", "cp949", "johab"),
)
"""No character of these encodings contains the byte of a line end."""
DETECTED = ("gb18030", "big5", "shift_jis", "euc_jp", "euc_kr")
SINGLE_BYTE = (
    *("ascii", "iso8859-1", "koi8-r", "koi8-u", "mac-roman", "mac-cyrillic", "tis-620"),
    *(f"iso8859-{part}" for part in range(2, 17) if part != 12),
    *(f"cp{page}" for page in (437, 850, 852, 855, 866, 874, *range(1250, 1259))),
)
_UTF_16 = ("utf-16", "utf-16-le", "utf-16-be")
ENCODINGS = ("utf-8", *_UTF_16, *_MULTIBYTE, *SINGLE_BYTE)

_BYTE_ORDER_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_UTF_32_MARKS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_INVALID = b"\xff"
"""A byte that no UTF-8 text contains."""
_ON_DAMAGE = "ptm.invalid"
"""Name of the error handler that puts this byte in place of what cannot be decoded."""
codecs.register_error(_ON_DAMAGE, lambda error: ("\udcff", getattr(error, "end", 0)))
_SAMPLE = 2**18
"""Bytes that decide whether lines end with CR."""
_DETECTION_SAMPLE = 2**16
"""Bytes of lines that are not ASCII, from which an encoding is detected."""
_FEWEST_CHARACTERS = 200
"""Characters that are not ASCII, below which a choice between several encodings is a guess."""
_SET = (
    "Set data.encoding to its name; a single-byte encoding, such as latin-1 or cp1252, is never "
    "detected."
)
_MOST_TO_SEARCH = 2**26
"""Bytes that are searched for such lines."""


def canonical_encoding(name: str) -> str:
    """Python's name of an encoding, e.g. iso8859-1 for latin-1; `detect` stays.

    Raises ValueError with a sentence if the name is unknown or the codec is not one for text files.
    """
    if name.lower() == DETECT:
        return DETECT
    try:
        found = codecs.lookup(name).name
    except (LookupError, ValueError):
        found = name
    found = {"utf-8-sig": "utf-8", "utf_8_sig": "utf-8"}.get(found, found)
    if found not in ENCODINGS:
        hint = nearest(name.lower(), (*ENCODINGS, "latin-1", DETECT))
        raise ValueError(f'"{name}" is not an encoding that ptm reads.{hint}')
    return found


class TextStream:
    """Reads the text of a file as UTF-8.

    Lines end with LF or CR LF. If the first 256 KB have CR and no LF, CR ends a line in the whole
    file; in other files a CR inside a line is white space. A byte-order mark is skipped.
    """

    def __init__(self, stream: CorpusStream, file: CorpusFile) -> None:
        """Raises UserError if a byte-order mark does not fit `file.encoding`."""
        self._stream = stream
        self._file = file
        self._decoder = _decoder(file.encoding)
        self._ended = False
        self._held_cr = False
        first = b""
        # A server may send less than was requested.
        while len(first) < _SAMPLE and (chunk := stream.read(_SAMPLE - len(first))):
            first += chunk
        self._check_mark(first)
        encoding, self.begin = _without_mark(file.encoding, first)
        """Bytes of the byte-order mark, before the text."""
        self._ready = self._decoded(first).removeprefix(codecs.BOM_UTF8)
        self._cr = b"\r" in self._ready and b"\n" not in self._ready
        self.line_ends = LineEnds(encoding, self._cr)
        """How the stored lines end, if the file is not compressed."""
        if self._cr:
            self._ready = self._with_newlines(self._ready)

    def read(self, size: int) -> bytes:
        """Return about `size` bytes of text; b"" at the end only. Raises UserError."""
        while not self._ended and len(self._ready) < size:
            chunk = self._stream.read(size - len(self._ready))
            text = self._decoded(chunk)
            self._ready += self._with_newlines(text) if self._cr else text
        found, self._ready = self._ready[:size], self._ready[size:]
        return found

    def _decoded(self, chunk: bytes) -> bytes:
        """`chunk` as UTF-8; an empty chunk is the end of the file."""
        self._ended = not chunk
        return self._decoder.decode(chunk) if self._decoder is not None else chunk

    def _check_mark(self, first: bytes) -> None:
        name = self._file.encoding
        if first.startswith(_UTF_32_MARKS):
            raise UserError(
                f"{self._file.path}: the file is UTF-32 text, which ptm does not read. Convert it: "
                "`iconv -f utf-32 -t utf-8 FILE > FILE.txt`."
            )
        marked = first.startswith(_BYTE_ORDER_MARKS)
        if marked and name not in _UTF_16:
            raise UserError(
                f"{self._file.path}: the file is UTF-16 text (it starts with a UTF-16 byte-order "
                f"mark), but data.encoding is {name}. Set data.encoding: utf-16."
            )
        if name == "utf-16" and not marked:
            raise UserError(
                f"{self._file.path}: the file has no byte-order mark, which data.encoding: utf-16 "
                "needs. Set data.encoding to utf-16-le or utf-16-be, or to the encoding that the "
                "file has."
            )

    def _with_newlines(self, text: bytes) -> bytes:
        """`text` with LF for CR and CR LF; a CR at its end waits for the next piece."""
        if self._held_cr:
            text = b"\r" + text
        self._held_cr = text.endswith(b"\r") and not self._ended
        if self._held_cr:
            text = text[:-1]
        return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def text_of(data: bytes, ends: LineEnds) -> bytes:
    """Whole lines of a file, without its byte-order mark, as the UTF-8 that `TextStream` reads."""
    decoder = _decoder(ends.encoding)
    text = data if decoder is None else decoder.decode(data) + decoder.decode(b"")
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if ends.cr else text


def _without_mark(encoding: str, first: bytes) -> tuple[str, int]:
    """The encoding with its byte order, and the bytes of the mark with which a file begins."""
    if encoding == "utf-16":
        encoding = "utf-16-le" if first.startswith(codecs.BOM_UTF16_LE) else "utf-16-be"
    try:
        mark = "\ufeff".encode(encoding)
    except UnicodeEncodeError:
        return encoding, 0
    return encoding, len(mark) if first.startswith(mark) else 0


class _LineDecoder:
    """Decodes an encoding in which no character contains the byte of a line end."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._rest = b""

    def decode(self, chunk: bytes) -> bytes:
        """The whole lines of what was given, as UTF-8; the rest is kept. b"" gives the rest."""
        data = self._rest + chunk
        cut = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1 if chunk else len(data)
        if len(data) - cut > LONGEST_RECORD:
            # Too long to be read in any case, and the cutter names its line.
            cut = len(data)
        self._rest = data[cut:]
        lines = data[:cut]
        try:
            return lines.decode(self._encoding).encode()
        except UnicodeDecodeError:
            # Line by line, so that a damaged character takes no line end with it.
            return b"".join(map(self._damaged, lines.splitlines(keepends=True)))

    def _damaged(self, line: bytes) -> bytes:
        text = line.rstrip(b"\r\n")
        decoded = text.decode(self._encoding, _ON_DAMAGE).encode("utf-8", "surrogateescape")
        return decoded + line[len(text) :]


class _Utf16Decoder:
    """Decodes UTF-16; a lone surrogate makes its line invalid."""

    def __init__(self, encoding: str) -> None:
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")

    def decode(self, chunk: bytes) -> bytes:
        try:
            return self._decoder.decode(chunk, final=not chunk).encode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            # The file ends in the middle of a character.
            return _INVALID


def _decoder(encoding: str) -> _LineDecoder | _Utf16Decoder | None:
    if encoding == "utf-8":
        return None
    return _Utf16Decoder(encoding) if encoding in _UTF_16 else _LineDecoder(encoding)


def detect_encoding(file: CorpusFile) -> str:
    """The encoding of a file: UTF-8, UTF-16 with a mark, or the likeliest multibyte encoding.

    charset-normalizer judges lines that are not ASCII. Single-byte encodings are not detected: they
    decode any bytes, and a guess would take one for another. Raises UserError if none fits, if the
    text is too short to choose, or if no encoding is likelier than the others.
    """
    lines, marked = _sample(file)
    if marked:
        return "utf-16"
    if _damaged_share(lines, "utf-8") <= INVALID_SHARE:
        return "utf-8"
    fitting = [name for name in DETECTED if _damaged_share(lines, name) <= INVALID_SHARE]
    from charset_normalizer import from_bytes

    whole = b"".join(line for line in lines if all(decodes(line, name) for name in fitting))
    if not fitting:
        raise UserError(
            f"{file.path}: the encoding was not recognised. It is neither UTF-8 nor one of "
            f"{', '.join(DETECTED)}. {_SET}"
        )
    # Every one of these encodings has at most two bytes for a frequent character.
    if sum(byte >= 0x80 for byte in whole) < 2 * _FEWEST_CHARACTERS:
        few = f"fewer than {_FEWEST_CHARACTERS} characters that are not ASCII"
        raise _ambiguous(file, fitting, f"it has {few}")
    ranked = list(from_bytes(whole, cp_isolation=fitting))
    if not ranked:
        raise _ambiguous(file, fitting, "its characters are unlikely together")
    if len(ranked) > 1 and _rank(ranked[0]) == _rank(ranked[1]):
        raise _ambiguous(file, fitting, "none of them is likelier than the others")
    return str(ranked[0].encoding)


def _rank(match: CharsetMatch) -> tuple[float, float]:
    return match.chaos, match.coherence


def _ambiguous(file: CorpusFile, fitting: list[str], why: str) -> UserError:
    return UserError(
        f"{file.path}: the encoding was not recognised. The text can be read as "
        f"{', '.join(fitting)}, but {why}. {_SET}"
    )


def _damaged_share(lines: list[bytes], encoding: str) -> float:
    damaged = sum(not decodes(line, encoding) for line in lines)
    return damaged / max(1, len(lines))


def _sample(file: CorpusFile) -> tuple[list[bytes], bool]:
    """Whole lines of the file that are not ASCII, and whether it has a UTF-16 byte-order mark."""
    kept: list[bytes] = []
    size = searched = 0
    rest = b""
    with open_stream(file) as stream:
        while size < _DETECTION_SAMPLE and searched < _MOST_TO_SEARCH:
            chunk = stream.read(2**20)
            if not searched and chunk.startswith(_BYTE_ORDER_MARKS):
                return [], True
            searched += len(chunk)
            lines = (rest + chunk).splitlines(keepends=True)
            rest = lines.pop()[-LONGEST_RECORD:] if chunk and lines else b""
            for line in lines:
                if not line.isascii() and size < _DETECTION_SAMPLE:
                    kept.append(line)
                    size += len(line)
            if not chunk:
                break
    return kept, False
