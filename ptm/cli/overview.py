"""The help of `ptm` alone: all commands in the order of use, in groups."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from typing import Protocol

_GROUPS = (
    (40, "Prepare a recipe and its data"),
    (60, "Train"),
    (130, "Use a model"),
    (1000, "Watch and compare runs"),
)
"""Each group has the commands whose `ORDER` is below its number, and not in the group before."""
_WIDEST = 100
_USAGE = """\
usage: ptm COMMAND ...

Pretrain language models with DeepSpeed from one YAML recipe.
"""
_END = """
`ptm COMMAND --help` prints the arguments of a command.
`ptm --version` prints the version.
"""


class Listed(Protocol):
    """A command, as the help lists it."""

    NAME: str
    HELP: str
    ORDER: int


def overview(commands: Sequence[Listed]) -> str:
    """The help, with lines that fit into the terminal. `commands`: in their order."""
    width = min(shutil.get_terminal_size().columns, _WIDEST) - 1
    column = max(len(one.NAME) for one in commands) + 4
    lines = [_USAGE]
    begin = 0
    for end, title in _GROUPS:
        lines.append(f"{title}:")
        for one in commands:
            if begin <= one.ORDER < end:
                first = f"  {one.NAME}".ljust(column)
                lines += textwrap.wrap(
                    one.HELP,
                    max(width, column + 20),
                    initial_indent=first,
                    subsequent_indent=" " * column,
                )
        lines.append("")
        begin = end
    return "\n".join(lines[:-1]) + "\n" + _END
