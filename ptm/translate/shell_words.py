"""Split pasted shell lines into commands and words. Nothing is executed or expanded."""

from __future__ import annotations

import re
from pathlib import Path

from ptm.errors import UserError

_CONTINUATION = re.compile(r"\\[ \t]*\n")
"""A backslash at the end of a line; copied text often has spaces behind it."""
_SEPARATORS = ("&&", "||", ";", "|", "&", "\n")
_REDIRECTION = re.compile(r"(?:\d|&)?(?:>&\d|>>|>|<)")
_VARIABLE = re.compile(r"\$(\{|\(|\w)")


def split_commands(text: str) -> list[list[str]]:
    """Return the words of each command.

    Commands are separated by `&&`, `||`, `;`, `|`, `&` and line ends. Quotes, backslashes and
    comments are as in a shell, and `~/` is the home folder; redirections are left out. Raises
    UserError for an unbalanced quote, a null character, and a variable or a substitution, whose
    value is unknown.
    """
    if "\0" in text:
        raise UserError("the command lines contain a null character. Give them as text.")
    return _Splitter(_CONTINUATION.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n"))).run()


class _Splitter:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._commands: list[list[str]] = [[]]
        self._word: str | None = None

    def run(self) -> list[list[str]]:
        while self._at < len(self._text):
            self._step()
        self._end_word()
        return [words for words in self._commands if words]

    def _step(self) -> None:
        rest = self._text[self._at :]
        separator = next((one for one in _SEPARATORS if rest.startswith(one)), None)
        if self._word is None and (redirection := _REDIRECTION.match(rest)):
            self._skip_redirection(redirection)
        elif separator is not None:
            self._end_word()
            self._commands.append([])
            self._at += len(separator)
        elif rest[0].isspace():
            self._end_word()
            self._at += 1
        elif rest[0] == "#" and self._word is None:
            self._at += len(rest.partition("\n")[0])
        elif rest.startswith("~/") and self._word is None:
            self._add(str(Path.home()))
            self._at += 1
        elif rest[0] in ("'", '"'):
            self._add(self._quoted(rest))
        elif rest[0] == "\\" and len(rest) > 1:
            self._add(rest[1])
            self._at += 2
        else:
            if rest[0] in "<>":
                self._end_word()
                return
            self._check_variable(rest)
            self._add(rest[0])
            self._at += 1

    def _skip_redirection(self, found: re.Match[str]) -> None:
        self._at += found.end()
        if found.group()[-1].isdigit():
            return
        while self._text[self._at : self._at + 1] in (" ", "\t"):
            self._at += 1
        while self._at < len(self._text) and not self._text[self._at].isspace():
            if self._text.startswith(_SEPARATORS, self._at):
                return
            self._at += 1

    def _quoted(self, rest: str) -> str:
        """The content of the quotes that `rest` begins with."""
        quote, content, at = rest[0], "", 1
        while at < len(rest) and rest[at] != quote:
            if quote == '"':
                self._check_variable(rest[at:])
                if rest[at] == "\\" and rest[at + 1 : at + 2] in ('"', "\\", "$", "`"):
                    at += 1
            content += rest[at]
            at += 1
        if at == len(rest):
            line = self._text.count("\n", 0, self._at) + 1
            raise UserError(
                f"line {line}: the quote {quote} before {rest[1:21]!r} is not closed. Add the "
                "closing quote."
            )
        self._at += at + 1
        return content

    def _check_variable(self, rest: str) -> None:
        if rest[0] == "`" or _VARIABLE.match(rest):
            shown = re.split(r"[\s;&|\"]", rest, maxsplit=1)[0]
            raise UserError(
                f"{shown}: variables and substitutions of the shell are not expanded. Write the "
                "value instead."
            )

    def _add(self, text: str) -> None:
        self._word = (self._word or "") + text

    def _end_word(self) -> None:
        if self._word is not None:
            self._commands[-1].append(self._word)
            self._word = None
