"""Errors that are not faults of the program, and the exit codes."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

EXIT_DONE = 0
EXIT_FAULT = 1
EXIT_USER = 2
EXIT_STOPPED = 75
EXIT_INTERRUPTED = 130
STOPPED_CODES = (EXIT_STOPPED, EXIT_INTERRUPTED)
"""Exit codes of a training that saved and ended on request."""


class UserError(Exception):
    """A mistake that only the user can fix: printed without traceback, exit code 2.

    Each argument is one message, which is printed on a line of its own.
    """

    def __str__(self) -> str:
        return "\n".join(map(str, self.args))


class SharedError(UserError):
    """A UserError that every rank raises, after the ranks have exchanged it."""


class TrainingError(Exception):
    """A training that cannot continue; the message gives the reason and a fix. Exit code 1.

    All ranks raise it.
    """


class OutOfMemoryError(TrainingError):
    """A training that ran out of memory, perhaps on some ranks only."""


def closest(word: str, known: Sequence[str]) -> str | None:
    """The one of `known` that `word` is probably a misspelling of.

    It differs in few letters for its length (difflib's ratio is at least 0.75), or only in their
    order.
    """
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.75)
    swapped = [one for one in known if sorted(one) == sorted(word)]
    return next(iter([*close, *swapped]), None)


def nearest(word: str, known: Iterable[str]) -> str:
    """` Did you mean "steps"?` for a name almost equal to `word`, otherwise the list of `known`."""
    choices = sorted(known)
    found = closest(word, choices)
    if found is not None:
        return f' Did you mean "{found}"?'
    return f" Choose one of: {', '.join(choices)}." if choices else ""
