"""Words of shell commands: variables and braces expanded, pipes and lists taken apart."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator

_VARIABLE = re.compile(r"\$\{?(\w+)\}?")
_BRACES = re.compile(r"^(?P<before>[^{}\s=]*)\{(?P<inside>[^{}\s]+,[^{}\s]+)\}(?P<after>[^{}\s]*)$")
_OPERATORS = set(";&|<>()")


def assignments(text: str, variables: dict[str, str]) -> dict[str, str]:
    """The variables that a command of nothing but assignments sets, after those in `variables`."""
    return dict(word.split("=", 1) for word in shlex.split(_expanded(text, variables)))


def simple_commands(text: str, variables: dict[str, str]) -> Iterator[list[str]]:
    """The words of each program that `text` starts; redirections are left out."""
    text = text.partition("<<'END'")[0].replace("\\\n", " ")
    lexer = shlex.shlex(_expanded(text, variables), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    words, into_file = list[str](), False
    for token in lexer:
        if set(token) <= _OPERATORS:
            into_file = token in (">", ">>", "<", ">&")
            if not into_file and words:
                yield words
                words = []
        elif into_file:
            into_file = False
        else:
            words += with_braces(token)
    if words:
        yield words


def _expanded(text: str, variables: dict[str, str]) -> str:
    return _VARIABLE.sub(lambda found: variables.get(found[1], found[0]), text)


def with_braces(word: str) -> list[str]:
    """`a/{b,c}` as the two words of a shell; a value with `=` is left as it is."""
    found = _BRACES.match(word)
    if not found:
        return [word]
    return [f"{found['before']}{one}{found['after']}" for one in found["inside"].split(",")]


def without_environment(words: Iterable[str]) -> list[str]:
    """`words` without the variables before the program."""
    kept = list(words)
    while kept and re.match(r"^[A-Z_]+=", kept[0]):
        del kept[0]
    return kept
