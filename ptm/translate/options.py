"""Options of other tools as tables, and their values on a command line, parsed as argparse does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal

from ptm.errors import UserError
from ptm.translate.command_line import CommandLine

Kind = Literal["text", "integer", "number", "flag", "switch"]
"""flag: without a value. switch: true, or an optional `True` or `False`."""
Tool = Literal["uer", "tencentpretrain", "former", "huggingface"]
"""The tool that has an option; former: only versions of UER-py before 2022."""

_TRUE, _FALSE = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")


@dataclass(frozen=True)
class Option:
    """An option of another tool, and its counterpart here, or the reason why it lacks one."""

    name: str
    """With two dashes, as in the tool's newest version."""
    kind: Kind = "text"
    key: str = ""
    """The keys and command options that correspond to it, in Markdown."""
    why: str = ""
    """Why it has no counterpart."""
    default: Any = None
    choices: tuple[str, ...] = ()
    """Empty: any value."""
    many: bool = False
    """Whether it takes one or more values."""
    copied_to: str = ""
    """A recipe key that takes the value unchanged."""
    former: tuple[str, ...] = ()
    """Spellings of earlier versions, and misspellings in documentation."""
    former_choices: tuple[str, ...] = ()
    """Values of earlier versions."""
    tool: Tool = "uer"

    def __post_init__(self) -> None:
        given = [text for text in (self.key, self.why, self.copied_to) if text]
        assert len(given) == 1, f"{self.name}: give exactly one of key, why and copied_to"

    @property
    def field(self) -> str:
        """The name without dashes."""
        return self.name.lstrip("-")

    @property
    def counterpart(self) -> str:
        """The keys and command options that correspond to it, in Markdown; empty without any."""
        return self.key or (f"`{self.copied_to}`" if self.copied_to else "")


@dataclass(frozen=True)
class Given:
    """The options of one command line."""

    command: CommandLine
    table: Mapping[str, Option]
    values: dict[str, Any] = field(default_factory=dict)
    """Name without dashes to value, of the options that are on the line."""
    written: dict[str, str] = field(default_factory=dict)
    """Name without dashes to the option as it is written on the line."""

    def get(self, name: str) -> Any:
        """The value of an option: the line's, else the tool's default."""
        return self.values[name] if name in self.values else self.table[name].default

    def has(self, name: str) -> bool:
        """Whether the line gives the option."""
        return name in self.values

    def without_counterpart(self) -> list[tuple[str, str]]:
        """The line's options that have no counterpart, as written, each with the reason."""
        return [
            (self.written[name], self.table[name].why)
            for name in self.values
            if self.table[name].why
        ]


def table_of(*groups: Iterable[Option]) -> dict[str, Option]:
    """Options by name without dashes; a later group does not replace an earlier one."""
    found: dict[str, Option] = {}
    for group in groups:
        for option in group:
            found.setdefault(option.field, option)
    return found


def parse_options(command: CommandLine, table: Mapping[str, Option]) -> Given:
    """Return the options of a command line; the last of repeated options counts.

    Accepts `--name value`, `--name=value`, unambiguous abbreviations, earlier spellings, and
    hyphens for underscores. Raises UserError for an unknown or ambiguous option, a missing or
    invalid value, and a word that belongs to no option.
    """
    given, words = Given(command, table), list(command.words)
    while words:
        word = words.pop(0)
        if not _is_option(word):
            raise UserError(
                f'{command.place}: "{word}" belongs to no option. Remove it, or quote a value '
                "that has spaces."
            )
        name, equals, attached = word.partition("=")
        option, is_true = _find(command.place, name, table)
        values = [attached] if equals else _values_of(option, words)
        given.values.pop(option.field, None)
        given.values[option.field] = _value(command.place, name, option, values, is_true=is_true)
        given.written[option.field] = " ".join([word, *([] if equals else values)])
    return given


def _is_option(word: str) -> bool:
    return word.startswith("-") and not _is_number(word)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _values_of(option: Option, words: list[str]) -> list[str]:
    """Remove the values of `option` from the front of `words` and return them."""
    if option.kind == "flag":
        return []
    taken: list[str] = []
    most = len(words) if option.many else 1
    while words and len(taken) < most and not _is_option(words[0]):
        if option.kind == "switch" and words[0].lower() not in (*_TRUE, *_FALSE):
            break
        taken.append(words.pop(0))
    return taken


def _find(place: str, written: str, table: Mapping[str, Option]) -> tuple[Option, bool]:
    """The option of a name, an earlier name, an abbreviation or `--no_NAME`; whether it is on."""
    name = "--" + written.lstrip("-").replace("-", "_")
    if name.removeprefix("--") in table:
        return table[name.removeprefix("--")], True
    for option in table.values():
        if name in option.former:
            return option, True
        if option.kind == "switch" and name == f"--no_{option.field}":
            return option, False
    abbreviated = written.startswith("--") and len(name) > len("--")
    for tool in ("uer", "tencentpretrain", "huggingface", "former"):
        found = [
            one
            for one in table.values()
            if abbreviated and one.tool == tool and one.name.startswith(name)
        ]
        if len(found) > 1:
            candidates = ", ".join(sorted(one.name for one in found))
            raise UserError(f"{place}: {written} is ambiguous: {candidates}. Write the whole name.")
        if found:
            return found[0], True
    names = [spelling for one in table.values() for spelling in (one.name, *one.former)]
    near = get_close_matches(name, names, n=1, cutoff=0.6)
    hint = f" Did you mean {near[0]}?" if near else " `ptm translate` knows the documented options."
    raise UserError(f"{place}: {written} is not an option of this script.{hint}")


def _value(
    place: str, written: str, option: Option, values: Sequence[str], *, is_true: bool
) -> Any:
    where = f"{place}: {written}"
    if option.kind == "flag":
        if values:
            raise UserError(f'{where} takes no value, but "{values[0]}" is given. Remove it.')
        return True
    if option.kind == "switch":
        if values and values[0].lower() not in (*_TRUE, *_FALSE):
            raise UserError(f'{where}: "{values[0]}" is neither True nor False.')
        return is_true is (not values or values[0].lower() in _TRUE)
    if not values:
        raise UserError(f"{where} has no value. Write the value after it.")
    converted = [_converted(where, option, value) for value in values]
    return converted if option.many else converted[0]


def _converted(where: str, option: Option, value: str) -> Any:
    if option.kind in ("integer", "number"):
        try:
            return int(value) if option.kind == "integer" else float(value)
        except ValueError:
            wanted = "an integer" if option.kind == "integer" else "a number"
            raise UserError(f'{where}: "{value}" is not {wanted}.') from None
    if option.choices and value not in (*option.choices, *option.former_choices):
        near = get_close_matches(value, option.choices, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UserError(f'{where}: "{value}" is not one of {", ".join(option.choices)}.{hint}')
    return value
