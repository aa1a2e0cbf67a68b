"""What can go wrong through no fault of the program, and the exit codes that say so."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

EXIT_DONE = 0
EXIT_FAULT = 1
EXIT_USER = 2
EXIT_STOPPED = 75
EXIT_INTERRUPTED = 130


class UserError(Exception):
    """A mistake that only the user can mend: shown as its sentence alone, exit code 2."""


class AgreedError(UserError):
    """One that all ranks raise, as they have told each other of it."""


class TrainingError(Exception):
    """A training that cannot go on; the message says why and what would help."""


def nearest(word: str, known: Iterable[str]) -> str:
    """` Did you mean "steps"?` for the closest of `known`, else the whole list."""
    choices = sorted(known)
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    if close:
        return f' Did you mean "{close[0]}"?'
    return f" Known here: {', '.join(choices)}." if choices else ""
