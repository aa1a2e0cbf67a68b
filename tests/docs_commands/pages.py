"""Commands of Markdown pages: fenced blocks of shell or Python, in the order of the page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

GENERATED = ("docs/commands.md", "docs/errors.md", "docs/recipe.md")
"""Pages of docs/generate.py. Their blocks are the usage of commands, not commands."""

SHELL = ("bash", "sh", "shell", "console")
PROGRAMS = ("ptm", "make", "python", "pip", "deepspeed", "sbatch", "git", "cd", "docker", "wandb")
"""A block without a language is a block of commands if its first line begins with one of these."""

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*) *$")
_ASSIGNMENT = re.compile(r"\w+=")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, and its lines without their indentation."""

    language: str
    line: int
    lines: tuple[str, ...]

    @property
    def is_shell(self) -> bool:
        if self.language:
            return self.language in SHELL
        first = next((line for line in self.lines if line.strip()), "").removeprefix("$ ")
        return first.split(" ")[0] in PROGRAMS or bool(_ASSIGNMENT.match(first))


@dataclass(frozen=True)
class Command:
    """One command of a page, possibly over several lines, without its comment."""

    page: str
    line: int
    text: str
    output: tuple[str, ...] = ()
    """The lines that the page shows below a command with the prompt `$`."""

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def is_assignment(self) -> bool:
        """Whether the command only sets variables of the shell."""
        return bool(re.fullmatch(r"""(\w+=("[^"]*"|'[^']*'|[^\s"';&|]*)\s*)+""", self.text))


def pages(root: Path) -> list[str]:
    """The pages whose commands are executed, relative to `root`."""
    found = [*root.glob("README*.md"), *(root / "docs").glob("*.md")]
    names = sorted(str(path.relative_to(root)) for path in found)
    return [name for name in names if name not in GENERATED]


def blocks_of(text: str) -> Iterator[Block]:
    """The fenced blocks of a page."""
    opened: re.Match[str] | None = None
    start, lines = 0, list[str]()
    for number, line in enumerate(text.splitlines(), start=1):
        fence = _FENCE.match(line)
        if opened is None and fence:
            opened, start, lines = fence, number + 1, []
        elif opened and fence and fence["indent"] == opened["indent"] and not fence["language"]:
            yield Block(opened["language"], start, tuple(lines))
            opened = None
        elif opened:
            lines.append(line.removeprefix(opened["indent"]))


def commands_of(root: Path, page: str) -> list[Command]:
    """The commands of the page `page`, in its order."""
    found: list[Command] = []
    for block in blocks_of((root / page).read_text(encoding="utf-8")):
        if block.language == "python":
            script = "\n".join(("python - <<'END'", *block.lines, "END"))
            found.append(Command(page, block.line, script))
        elif block.is_shell:
            found += _commands(page, block)
    return found


def _commands(page: str, block: Block) -> Iterator[Command]:
    prompts = any(line.startswith("$ ") for line in block.lines)
    lines = [*block.lines]
    at = 0
    while at < len(lines):
        first = at
        if prompts and not lines[at].startswith("$ "):
            at += 1
            continue
        text, at = joined(lines, at, prompt="$ " if prompts else "")
        shown = at
        while prompts and at < len(lines) and not lines[at].startswith("$ "):
            at += 1
        if text:
            yield Command(page, block.line + first, text, tuple(lines[shown:at]))


def joined(lines: Sequence[str], at: int, *, prompt: str = "") -> tuple[str, int]:
    """The command that begins in line `at`, without comments, and the line after it.

    A command continues in the next line after a backslash or inside quotes.
    """
    text, quote = "", ""
    line = lines[at].removeprefix(prompt)
    while True:
        kept, quote = _without_comment(line, quote)
        at += 1
        continues = bool(quote) or kept.endswith("\\")
        text += kept
        if not continues or at == len(lines):
            return text.strip(), at
        text += "\n"
        line = lines[at]


def _without_comment(line: str, quote: str) -> tuple[str, str]:
    """`line` without its comment, and the quote that is open at its end. `quote`: at its start."""
    for index, letter in enumerate(line):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter == "#" and (index == 0 or line[index - 1].isspace()):
            return line[:index].rstrip(), ""
    return line.rstrip() if not quote else line, quote
