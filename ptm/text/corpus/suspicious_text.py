"""Evidence that a text was decoded by another encoding than its own, from its first bytes.

Every byte is a character in a single-byte encoding, so that a wrong one raises no error: French
becomes words of Latin and Cyrillic letters, UTF-8 becomes "Ã©". A vocabulary may have none of it.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise

from ptm.errors import UserError
from ptm.text.corpus.checks import first_invalid_lines
from ptm.text.corpus.encodings import DETECTED, SINGLE_BYTE, detect_encoding
from ptm.text.corpus.files import CorpusFile
from ptm.text.corpus.streams import open_stream

_SAMPLE = 2**16
"""Bytes of text that are looked at."""
_FEWEST = 10
"""Characters, words or lines below which there is no evidence."""
_FEWEST_CONTROLS = 3
_LINES = 200
"""Lines that are not ASCII that are looked at one by one."""
_CONTROLS = re.compile("[\x80-\x84\x86-\x9f]")
"""C1 controls but for the line end U+0085: no text has them."""
_MOST_INVALID = 0.05
"""Share of lines that cannot be decoded, above which the others are no evidence."""
_MOST_CONTROLS = 0.01
"""Share of the characters that are not ASCII."""
_MOST_LOST = 0.001
"""Share of U+FFFD in all characters."""
_MOST_TWICE_DECODED = 0.1
"""Share of the lines that are not ASCII."""
_MOST_MIXED = 0.25
"""Share of the words that are not ASCII that mix scripts."""
_MOST_ODD_CAPITALS = 0.05
"""Share of the words that are not ASCII that have capitals after small letters."""
_MOST_ACCENTED = 0.6
"""Share of characters that are not ASCII in a language of Latin letters; Vietnamese has 0.3."""
_OTHER_SCRIPT = "\u0370-\u03ff\u0400-\u052f\u0590-\u06ff\u0e00-\u0e7f"
"""Greek, Cyrillic, Hebrew, Arabic and Thai."""
_NOT_ASCII = re.compile("[^\x00-\x7f]")
_WORD = re.compile(r"[^\W\d_]{3,}")
_IN_OTHER_SCRIPT = re.compile(f"[{_OTHER_SCRIPT}]")
_ASCII_LETTER = re.compile("[A-Za-z]")
_LATIN = frozenset(
    {"iso8859-1", "mac-roman", "cp437", "cp850", "cp852", "cp1250", "cp1252", "cp1254", "cp1257"}
    | {f"iso8859-{part}" for part in (2, 3, 4, 9, 10, 13, 14, 15, 16)}
)
"""Single-byte encodings of languages of Latin letters."""
_DECODED_BY = ("cp1252", "cp1251", "gb18030")
"""Encodings by which UTF-8 is often decoded by mistake."""
_SHOWN = 40
_AS_BYTE = "ptm.as_byte"
"""Name of the error handler that encodes a character below U+0100 as its number."""


def _as_byte(error: UnicodeError) -> tuple[bytes, int]:
    if isinstance(error, UnicodeEncodeError) and error.object[error.start] < "\u0100":
        return error.object[error.start].encode("latin-1"), error.start + 1
    raise error


codecs.register_error(_AS_BYTE, _as_byte)


def encoding_finding(file: CorpusFile, begin: bytes, *, key: str) -> str | None:
    """A sentence if a file is probably not in the encoding `file.encoding`, else None.

    None too if more than 5 % of the first lines cannot be decoded, which is an error elsewhere.

    `begin`: the first bytes of its text, as UTF-8. `key`: the recipe key of the encoding.
    """
    sample = begin[:_SAMPLE]
    if sample.isascii() or file.encoding.startswith("utf-16"):
        return None
    if file.encoding != "utf-8" and _is_utf_8(file):
        return (
            f"{file.path}: the file is valid UTF-8, but {key} is {file.encoding}. Set {key}: utf-8."
        )
    lines = first_invalid_lines(sample)
    if lines.invalid > _MOST_INVALID * lines.lines:
        return None
    text = sample.decode("utf-8", errors="ignore")
    if file.encoding == "utf-8":
        return next(_found_in_utf_8(file, text), None)
    what = next(_found_in(file, text), None)
    if what is None:
        return None
    return f"{file.path}: {what}, so {key}: {file.encoding} may be wrong.{_advice(file, text, key)}"


def _found_in_utf_8(file: CorpusFile, text: str) -> Iterator[str]:
    lost = text.count("\ufffd")
    if lost >= _FEWEST and lost > _MOST_LOST * len(text):
        yield (
            f"{file.path}: {100 * lost / len(text):.1f} % of its first characters are U+FFFD, "
            "which an earlier conversion has put in place of characters that it could not read. "
            "Convert the original again, with its encoding."
        )
    controls = len(_CONTROLS.findall(text))
    if controls >= _FEWEST and controls > _MOST_CONTROLS * len(_NOT_ASCII.findall(text)):
        yield (
            f"{file.path}: {controls:,} of its first characters are control characters (U+0080 to "
            "U+009F), as where cp1252 was read as latin-1 and written again. Convert the original "
            "again, with its encoding."
        )
    # Not `splitlines`: it ends lines at U+0085 too.
    lines = [line for line in text.split("\n") if not line.isascii()][:_LINES]
    for encoding in _DECODED_BY:
        damaged = [line for line in lines if _is_twice_decoded(line, encoding)]
        if len(damaged) >= _FEWEST and len(damaged) > _MOST_TWICE_DECODED * len(lines):
            word = next(word for word in damaged[0].split() if not word.isascii())
            meant = word.encode(encoding, _AS_BYTE).decode("utf-8", errors="replace")
            yield (
                f"{file.path}: {100 * len(damaged) / len(lines):.0f} % of its first lines that are "
                f"not ASCII are UTF-8 that was read as {encoding} and written again, e.g. "
                f'"{word[:_SHOWN]}" for "{meant[:_SHOWN]}". Convert the original again, with its '
                "encoding."
            )


def _found_in(file: CorpusFile, text: str) -> Iterator[str]:
    """What is unlikely in a text of a single-byte or multibyte encoding."""
    others = _NOT_ASCII.findall(text)
    controls = len(_CONTROLS.findall(text))
    if controls >= _FEWEST_CONTROLS and controls > _MOST_CONTROLS * len(others):
        yield f"{controls:,} of its first characters are control characters (U+0080 to U+009F)"
    if file.encoding not in SINGLE_BYTE:
        return
    characters = len(text) - sum(map(str.isspace, text))
    if file.encoding in _LATIN and len(others) > max(100, _MOST_ACCENTED * characters):
        yield (
            f"{100 * len(others) / characters:.0f} % of its first characters are accented letters "
            "or symbols"
        )
    words = [word for word in _WORD.findall(text) if not word.isascii()]
    for what, is_odd, most in (
        ("mix Latin with other letters", _mixes_scripts, _MOST_MIXED),
        ("have capitals after small letters", _has_odd_capitals, _MOST_ODD_CAPITALS),
    ):
        odd = [word for word in words if is_odd(word)]
        if len(odd) >= _FEWEST and len(odd) > most * len(words):
            share = 100 * len(odd) / len(words)
            example = odd[0][:_SHOWN]
            yield f'{share:.0f} % of its first words that are not ASCII {what}, e.g. "{example}"'


def _advice(file: CorpusFile, text: str, key: str) -> str:
    """The encoding that the file probably has, if that is known."""
    with suppress(UserError):
        found = detect_encoding(file)
        if found in DETECTED:
            return f" The file can be read as {found}."
    if file.encoding == "iso8859-1" and _CONTROLS.search(text):
        return f" Set {key}: cp1252, which has quotes, dashes and letters in their place."
    return f" Set {key} to the encoding of the file."


def _is_utf_8(file: CorpusFile) -> bool:
    with open_stream(file) as stream:
        raw = stream.read(_SAMPLE)
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(raw)
    except UnicodeDecodeError:
        return False
    return len(_NOT_ASCII.findall(text)) >= _FEWEST


def _is_twice_decoded(line: str, encoding: str) -> bool:
    try:
        line.encode(encoding, _AS_BYTE).decode("utf-8")
    except UnicodeError:
        return False
    return True


def _mixes_scripts(word: str) -> bool:
    return bool(_IN_OTHER_SCRIPT.search(word) and _ASCII_LETTER.search(word))


def _has_odd_capitals(word: str) -> bool:
    return any(one.islower() and other.isupper() for one, other in pairwise(word))
