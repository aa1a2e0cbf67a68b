"""JSON that is not one object per line: arrays, and objects over several lines.

Both are recognised by their first bytes, and named with the command that makes JSON lines of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ptm.text.corpus.json_lines import objects_in

_STRING = rb'"((?:[^"\\\n]|\\.)*)"'
_ARRAY = re.compile(rb"\s*\[\s*\{\s*(?:" + _STRING + rb"\s*:|\})")
_OBJECT = re.compile(rb"\s*\{\s*" + _STRING + rb"\s*:")
_ARRAY_OF_TEXTS = re.compile(rb"\s*\[\s*" + _STRING + rb"\s*(?:,\s*\n|,\s*\"|\])")
_TEXT = re.compile(rb"\s*" + _STRING + rb"\s*\n")
_LIST_OF_OBJECTS = re.compile(_STRING + rb"\s*:\s*\[\s*\{")
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def are_json_lines(lines: Sequence[str], *, share: float) -> bool:
    """Whether at least a `share` of the lines are JSON objects."""
    found = sum(objects_in([line]) is not None for line in lines)
    return bool(lines) and found >= share * len(lines)


def json_document(begin: bytes) -> str | None:
    """What a file that begins with `begin` is if it is one of these, and how to convert it.

    The sentence follows the name of the file; None if the file is something else.
    """
    if _ARRAY.match(begin):
        return _sentence("a JSON array", ".[]")
    first = begin.lstrip().split(b"\n", 1)[0].decode("utf-8", errors="replace")
    if not _OBJECT.match(begin) or objects_in([first.strip()]) is not None:
        return None
    found = _LIST_OF_OBJECTS.search(begin)
    name = found.group(1).decode("utf-8", errors="replace") if found else ""
    if _NAME.fullmatch(name):
        what = f'a JSON object whose key "{name}" has a list of objects'
        return _sentence(what, f".{name}[]")
    return _sentence("JSON objects over several lines", ".")


def json_texts(begin: bytes) -> str | None:
    """As `json_document`, of JSON whose texts are in no object: an array, or a string per line."""
    if _ARRAY_OF_TEXTS.match(begin):
        return _sentence("a JSON array of texts", ".[] | {text: .}")
    if _TEXT.match(begin):
        return _sentence("JSON strings", "{text: .}")
    return None


def _sentence(what: str, objects: str) -> str:
    return (
        f"the file is {what}, but JSON lines have one object per line. Convert it: "
        f"`jq -c '{objects}' FILE > FILE.jsonl`."
    )
