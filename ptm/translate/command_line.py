"""One command of pasted text: its script, its options, and who starts how many ranks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from ptm.errors import UserError
from ptm.translate.shell_words import split_commands

_NODE = re.compile(r"node[-_ ]?(\d+)\s*([:：]?)", re.IGNORECASE)
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_PYTHON = re.compile(r"python(\d(\.\d+)?)?")
_WRAPPERS = ("nohup", "time", "sudo", "env", "$", "srun")
_LAUNCHER_PROGRAMS = ("torchrun", "deepspeed", "accelerate")
_LAUNCHER_MODULES = ("torch.distributed.launch", "torch.distributed.run", "accelerate.commands")
_WITHOUT_COUNTERPART = ("mv", "cp", "mkdir", "cd", "export", "echo", "ls", "wait", "tee")
"""Shell commands around the scripts. They are skipped; `mv` and `cp` rename a checkpoint."""
_RANKS_PER_HOST = ("nproc_per_node", "num_gpus")
_HOSTS = ("nnodes", "num_nodes", "num_machines")


@dataclass(frozen=True)
class CommandLine:
    """A script with its words, as a shell would start it."""

    program: str
    """File name of the script, such as `pretrain.py`; of a shell command, its name."""
    words: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    node: int | None = None
    """The number of a `Node-0 :` prefix."""
    launcher: Mapping[str, str] = field(default_factory=dict)
    """Options of torchrun, deepspeed or accelerate, without their dashes; a flag is empty."""
    number: int | None = None
    """Position among the commands, from 1; None if there is only one."""

    @property
    def place(self) -> str:
        """The start of a message about the command: its program, and its number among several."""
        return self.program if self.number is None else f"command {self.number}, {self.program}"

    @property
    def is_script(self) -> bool:
        """Whether the command runs a Python script."""
        return self.program.endswith(".py")

    @property
    def launched_ranks(self) -> int | None:
        """Number of ranks that the launcher starts over all hosts; None without a launcher.

        Raises UserError for a number that is not an integer.
        """
        total = self.launcher.get("num_processes")
        if total is not None:
            return self._integer("num_processes", total)
        for name in _RANKS_PER_HOST:
            if name in self.launcher:
                return self._integer(name, self.launcher[name]) * self.launched_hosts
        return None

    @property
    def launched_hosts(self) -> int:
        """Number of hosts that the launcher starts ranks on."""
        for name in _HOSTS:
            if name in self.launcher:
                return self._integer(name, self.launcher[name].partition(":")[0])
        return 1

    def _integer(self, name: str, text: str) -> int:
        if not text.isdecimal() or int(text) == 0:
            raise UserError(f'--{name}: "{text}" is not a positive integer.')
        return int(text)


def read_command_lines(text: str) -> list[CommandLine]:
    """Return the commands of pasted text, shell commands such as `mv` included.

    Raises UserError for text that cannot be parsed and for a program that is not known.
    """
    lines = [_command_line(words) for words in split_commands(text)]
    if len(lines) == 1:
        return lines
    return [replace(line, number=number) for number, line in enumerate(lines, 1)]


def _command_line(words: Sequence[str]) -> CommandLine:
    rest = list(words)
    node = _take_node(rest)
    environment: dict[str, str] = {}
    while rest and (rest[0] in _WRAPPERS or _ASSIGNMENT.fullmatch(rest[0])):
        assignment = _ASSIGNMENT.fullmatch(rest.pop(0))
        if assignment:
            environment[assignment.group(1)] = assignment.group(2)
    if not rest:
        return CommandLine("export", tuple(words), environment, node)
    program = PurePosixPath(rest[0].replace("\\", "/")).name
    launcher: dict[str, str] = {}
    if _PYTHON.fullmatch(program):
        _drop_python(rest, launcher)
    elif program in _LAUNCHER_PROGRAMS:
        del rest[0]
        _take_launcher_options(rest, launcher)
    elif program in _WITHOUT_COUNTERPART:
        return CommandLine(program, tuple(rest[1:]), environment, node)
    if not rest or not rest[0].endswith(".py"):
        raise UserError(
            f'"{" ".join(words)[:60]}" does not start a Python script. Give the command lines of '
            "preprocess.py, pretrain.py, run_mlm.py and the like, or a file with them."
        )
    script = PurePosixPath(rest[0].replace("\\", "/")).name
    return CommandLine(script, tuple(rest[1:]), environment, node, launcher)


def _take_node(rest: list[str]) -> int | None:
    """Remove a prefix `Node-0 :` and return its number."""
    found = _NODE.fullmatch(rest[0]) if rest else None
    if found is None:
        return None
    del rest[0]
    if not found.group(2) and rest and rest[0] in (":", "："):
        del rest[0]
    return int(found.group(1))


def _drop_python(rest: list[str], launcher: dict[str, str]) -> None:
    """Remove the interpreter, its flags, and the launcher module that it runs."""
    del rest[0]
    while rest and rest[0].startswith("-"):
        flag = rest.pop(0)
        if flag == "-m" and rest:
            module = rest.pop(0)
            if not module.startswith(_LAUNCHER_MODULES):
                raise UserError(f'"python -m {module}" is not known. Give the script\'s path.')
            _take_launcher_options(rest, launcher)
        elif flag in ("-W", "-X") and rest:
            del rest[0]


def _take_launcher_options(rest: list[str], launcher: dict[str, str]) -> None:
    """Move everything before the script from `rest` to `launcher`."""
    while rest and not rest[0].endswith(".py"):
        word = rest.pop(0)
        if not word.startswith("-"):
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if not equals and rest and not rest[0].startswith("-") and not rest[0].endswith(".py"):
            value = rest.pop(0)
        launcher[name.replace("-", "_")] = value
