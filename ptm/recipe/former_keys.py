"""Keys that recipes had in earlier formats, and the keys that replaced them.

A recipe that a person wrote is corrected by that person: a former key is an error that names the
new one. The recipes in runs, imports and exports were written by this program, so reading converts
them. They carry the number of their format; files of format 1 carry none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ptm.errors import UserError

FORMAT_KEY = "format"
FORMAT = 2
"""Of recipes that this version writes."""

RENAMED_KEYS: Mapping[str, str] = {
    "checkpoint.write_behind": "async_save",
    "model.embedding.of": "parts",
    "model.target_embedding.of": "parts",
    "objective.full_sentences": "concatenate",
    "objective.masking.per": "replace_per",
    "objective.start": "add_bos",
    "tracking.report_every": "log_every",
    "train.anomalies.text": "record_text",
    "train.early_stopping.minimum_change": "min_delta",
}
"""Dotted path of format 1 -> the last part of its path since format 2."""

RENAMED_VALUES: Mapping[str, Mapping[str, str]] = {"objective.noise.spans": {"paper": "t5"}}
"""Dotted path -> value of format 1 -> value since format 2."""


def take_format(data: dict[str, Any], *, name: str) -> int | None:
    """Remove and return the format number of a recipe, None if it has none.

    Raises UserError for a format that is newer than this version.
    """
    number = data.pop(FORMAT_KEY, None)
    if number is None:
        return None
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= FORMAT:
        raise UserError(
            f"{name}: {FORMAT_KEY} = {number!r}, but this version of ptm reads recipes of the "
            f"formats 1 to {FORMAT}. If a newer version wrote the file, use that version; "
            f"otherwise remove the key."
        )
    return number


def convert(data: Mapping[str, Any], *, format_number: int) -> dict[str, Any]:
    """The data of a recipe that this program wrote, with the keys and values of today's format."""
    if format_number == FORMAT:
        return dict(data)
    return _converted(data, ())


def _converted(data: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    found = {}
    for key, value in data.items():
        here = (*path, str(key))
        dotted = ".".join(here)
        if isinstance(value, dict):
            value = _converted(value, here)
        elif isinstance(value, str):
            value = RENAMED_VALUES.get(dotted, {}).get(value, value)
        found[RENAMED_KEYS.get(dotted, key)] = value
    return found
