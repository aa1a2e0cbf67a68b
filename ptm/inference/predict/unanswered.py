"""Inputs that have no answer: counted, and the first damaged one named."""

from __future__ import annotations

from ptm.counted import counted


class Unanswered:
    """Counts inputs that are empty, and inputs that could not be read."""

    def __init__(self) -> None:
        self._empty = self._damaged = 0
        self._first = ""

    def note(self, place: str, problem: str) -> None:
        """Count an input. `problem`: what is wrong with it, "" if it has no text."""
        if not problem:
            self.add_empty(1)
            return
        self._damaged += 1
        self._first = self._first or f"{place}: {problem.rstrip('.')}"

    def add_empty(self, count: int) -> None:
        """Count inputs without text."""
        self._empty += count

    def sentences(self) -> list[str]:
        """Sentences for the user; none if every input has an answer."""
        found = []
        if self._empty:
            found.append(
                f"{counted(self._empty, 'input has', 'inputs have')}"
                " no text, and therefore no answer."
            )
        if self._damaged:
            found.append(
                f"{counted(self._damaged, 'input')} could not be read and got no answer; the first "
                f"is {self._first}."
            )
        return found
