"""Files that are no plain text, recognised by their first lines: JSON lines, tables with a header.

A training on braces, keys and labels succeeds and is worth nothing.
"""

from __future__ import annotations

import json
import re

from ptm.errors import UserError

_LINES = 5
"""Lines that have to agree."""
_TEXT_KEYS = ("text", "content", "sentence", "article", "document", "body", "raw_content")
_COLUMNS = {
    *("label", "labels", "text", "text_a", "text_b", "sentence", "sentence1", "sentence2"),
    *("content", "title", "query", "question", "answer", "premise", "hypothesis", "target"),
    *("source", "src", "tgt", "review"),
}
_NAME = re.compile(r"[A-Za-z_][\w .-]{0,30}", re.ASCII)


def check_is_text(path: str, begin: bytes, layout: str) -> None:
    """Raise UserError if a file is not text of `layout`; `begin`: its first bytes."""
    if layout not in ("documents", "sentences"):
        return
    lines = [line for line in begin[: 2**16].split(b"\n")[:-1] if line.strip()][:_LINES]
    texts = [line.decode("utf-8", errors="replace").strip("\r ") for line in lines]
    keys = _json_keys(texts)
    if keys is not None:
        text = next((key for key in _TEXT_KEYS if key in keys), keys[0] if keys else "text")
        raise UserError(
            f"{path}: the lines are JSON objects (keys: {', '.join(keys)}), and data.layout: "
            f"{layout} would train on braces and keys. Write the texts to a file, e.g. `jq -r "
            f'\'.{text} | gsub("\\n"; " ")\' FILE`.'
        )
    columns = _header(texts)
    if columns is not None:
        raise UserError(
            f"{path}:1: the file is a table with the columns {', '.join(columns)}, and "
            f"data.layout: {layout} would train on labels and names. For texts with labels set "
            "data.layout: labelled, for source and target data.layout: pairs; for the texts alone, "
            "`tail -n +2 FILE | cut -f N` keeps column N."
        )


def _json_keys(texts: list[str]) -> list[str] | None:
    """The keys of the first object, if all lines are JSON objects."""
    keys: list[str] | None = None
    for text in texts:
        if not (text.startswith("{") and text.endswith("}")):
            return None
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return None
        keys = list(value) if keys is None else keys
    return keys


def _header(texts: list[str]) -> list[str] | None:
    """The columns of a table: names in the first line, and as many columns in the others."""
    columns = texts[0].split("\t") if texts else []
    named = all(_NAME.fullmatch(column) for column in columns)
    if len(columns) < 2 or len(texts) < 2 or not named:
        return None
    if not _COLUMNS & {column.lower() for column in columns}:
        return None
    same = all(text.count("\t") == len(columns) - 1 for text in texts[1:])
    return columns if same else None
