"""Errors that are not faults of the program, and the exit codes."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

EXIT_DONE = 0
EXIT_FAULT = 1
EXIT_USER = 2
EXIT_STOPPED = 75
EXIT_INTERRUPTED = 130


class UserError(Exception):
    """A mistake that only the user can fix: printed without traceback, exit code 2."""


class SharedError(UserError):
    """A UserError that every rank raises, after the ranks have exchanged it."""


class TrainingError(Exception):
    """A training that cannot continue; the message gives the reason and a fix. Exit code 1."""


def nearest(word: str, known: Iterable[str]) -> str:
    """` Did you mean "steps"?` for a name almost equal to `word`, otherwise the list of `known`."""
    choices = sorted(known)
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.75)
    if close:
        return f' Did you mean "{close[0]}"?'
    return f" Choose one of: {', '.join(choices)}." if choices else ""
