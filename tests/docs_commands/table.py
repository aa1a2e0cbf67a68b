"""The table of changes to the commands of the pages: `table.yaml` beside this file.

Every command of a page is executed as it is written, unless this table changes it, or lists why it
is not executed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from tests.docs_commands.pages import Command


class Rules(BaseModel):
    """Rules for the commands of one page, or of all pages. Patterns are searched in commands."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    setup: str = ""
    """Shell commands that are executed before those of the page: the files that it names."""
    replace: dict[str, str] = {}
    """Pattern -> what is written instead: smaller numbers, or a file for a placeholder."""
    append: dict[str, str] = {}
    """Pattern -> words at the end of the command."""
    exit: dict[str, int] = {}
    """Pattern -> the exit code to expect, if it is not 0."""
    seconds: dict[str, int] = {}
    """Pattern -> seconds after which a command that runs without end receives SIGINT."""
    skip: dict[str, str] = {}
    """Pattern -> why these commands are not executed."""
    varies: list[str] = []
    """Patterns of shown text that differs with every model, such as predicted words."""


class Table(BaseModel):
    """The rules of all pages together, and those of single pages."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    everywhere: Rules
    pages: dict[str, Rules]

    def rules(self, page: str) -> Sequence[Rules]:
        """The rules of `page`; earlier ones take precedence."""
        return (self.pages.get(page, Rules()), self.everywhere)

    def reason(self, command: Command) -> str | None:
        """Why `command` is not executed, or None if it is."""
        for rules in self.rules(command.page):
            for pattern, reason in rules.skip.items():
                if re.search(pattern, command.text):
                    return reason
        return None

    def changed(self, command: Command) -> str:
        """The text of `command` with all replacements, and what is appended to it."""
        text = command.text
        for rules in self.rules(command.page):
            for pattern, words in rules.replace.items():
                text = re.sub(pattern, words, text)
        for rules in self.rules(command.page):
            for pattern, words in rules.append.items():
                if re.search(pattern, text):
                    return f"{text} {words}"
        return text

    def exit_code(self, command: Command) -> int:
        return _first([one.exit for one in self.rules(command.page)], command, default=0)

    def seconds(self, command: Command) -> int | None:
        """Seconds after which the command is interrupted, or None if it ends by itself."""
        return _first([one.seconds for one in self.rules(command.page)], command, default=0) or None

    def unused(self, page: str, commands: Sequence[Command]) -> list[str]:
        """Patterns of the rules of `page` that match none of its commands."""
        rules = self.pages.get(page, Rules())
        shown = [line for command in commands for line in command.output]
        texts = [command.text for command in commands]
        changed = [self.changed(command) for command in commands]
        return [
            *_unused([*rules.replace, *rules.skip], texts),
            *_unused([*rules.append, *rules.exit, *rules.seconds], [*texts, *changed]),
            *_unused(rules.varies, shown),
        ]


def _first(tables: Sequence[dict[str, int]], command: Command, *, default: int) -> int:
    for table in tables:
        for pattern, value in table.items():
            if re.search(pattern, command.text):
                return value
    return default


def _unused(patterns: Sequence[str], texts: Sequence[str]) -> list[str]:
    return [one for one in patterns if not any(re.search(one, text) for text in texts)]


@cache
def table() -> Table:
    """The table in `table.yaml`."""
    path = Path(__file__).parent / "table.yaml"
    return Table.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
