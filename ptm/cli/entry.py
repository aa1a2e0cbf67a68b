"""The entry point: parses arguments, runs a command, turns errors into messages and exit codes."""

from __future__ import annotations

import argparse
import errno
import importlib
import logging
import os
import pkgutil
import sys
from collections.abc import Sequence
from typing import Any, NoReturn, Protocol, TextIO, cast

from ptm.cli import commands
from ptm.cli.console import (
    ConsoleFormatter,
    OutputError,
    console,
    is_quiet,
    print_error,
    print_result_block,
    set_quiet,
)
from ptm.cli.once import report_error_once
from ptm.cli.overview import overview
from ptm.console.terminal import has_colours
from ptm.errors import (
    EXIT_DONE,
    EXIT_FAULT,
    EXIT_INTERRUPTED,
    EXIT_USER,
    OutOfMemoryError,
    SharedError,
    TrainingError,
    UserError,
)
from ptm.escaping import escaped, shown_url
from ptm.launch.rank_arguments import decode_arguments
from ptm.out_of_memory import ADVICE, memory_error
from ptm.rank_environment import ranks_on_this_host
from ptm.version import __version__


class Command(Protocol):
    """The interface of a module of `ptm.cli.commands`."""

    NAME: str
    HELP: str
    ORDER: int
    """Position in `ptm --help`, which lists the commands in the order of use."""

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """Add the arguments of the command."""

    @staticmethod
    def run(parsed: argparse.Namespace) -> int:
        """Run the command and return the exit code."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    _configure_torch()
    with console():
        return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    try:
        _limit_threads()
        words = decode_arguments(sys.argv[1:] if arguments is None else arguments)
        parser = build_parser()
        if not words:
            parser.print_help()
            return EXIT_USER
        parsed = _parsed(parser, words)
        set_quiet(getattr(parsed, "quiet", False))
        # The log of a training is what it prints. Other commands print nothing but results there.
        log_to_console(sys.stdout if getattr(parsed, "logs_on_stdout", False) else sys.stderr)
        return cast(int, parsed.command(parsed))
    except UserError as error:
        first, *more = map(str, error.args)
        report_error_once(f"ptm: {first}", *more, on_all=isinstance(error, SharedError))
        return EXIT_USER
    except TrainingError as error:
        report_error_once(f"ptm: {error}", on_all=not isinstance(error, OutOfMemoryError))
        return EXIT_FAULT
    except (RuntimeError, MemoryError) as error:
        if (reason := memory_error(error)) is None:
            raise
        report_error_once(f"ptm: {reason}. {ADVICE}", on_all=False)
        return EXIT_FAULT
    except KeyboardInterrupt:
        print_error("ptm: interrupted")
        return EXIT_INTERRUPTED
    except OutputError as error:
        if error.by_reader:
            return EXIT_DONE
        print_error(f"ptm: {error}")
        return EXIT_USER
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            report_error_once(f"ptm: {where}no such path: {error.strerror}.", on_all=False)
            return EXIT_USER
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise
        report_error_once(f"ptm: {where}cannot be written: {error.strerror}.", on_all=False)
        return EXIT_USER


def _configure_torch() -> None:
    """Set variables that torch reads when it is imported, unless the user has set them."""
    # Threads that spin while they wait slow a training down to a quarter of its speed as soon as
    # another program uses a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if "PYTORCH_CUDA_ALLOC_CONF" not in os.environ:
        # Padded tensors change their size from step to step. Blocks of GPU memory that can grow
        # are reused for all of them, where fixed ones leave gaps.
        os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")


def _limit_threads() -> None:
    """Under a launcher, give each rank of this host an equal share of the cores.

    Ranks that use all cores each are many times slower. OMP_NUM_THREADS takes precedence.
    """
    ranks = ranks_on_this_host()
    if ranks > 1:
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // ranks)))


def _parsed(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Parse arguments; unlike argparse alone, allow KEY=VALUE after options."""
    parsed, rest = parser.parse_known_args(arguments)
    late = [word for word in rest if "=" in word and not word.startswith("-")]
    if len(late) < len(rest) or (late and not hasattr(parsed, "overrides")):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if late:
        parsed.overrides = [*parsed.overrides, *late]
    return parsed


def log_to_console(stream: TextIO) -> None:
    """Log progress to `stream`; warnings and errors are prefixed with their level."""
    logger = logging.getLogger("ptm")
    logger.setLevel(logging.INFO)
    if not logger.handlers:
        handler = logging.StreamHandler(stream)
        handler.setFormatter(ConsoleFormatter(colours=has_colours(stream), stream=stream))
        logger.addHandler(handler)
    for one in logger.handlers:
        if type(one) is logging.StreamHandler:
            one.setLevel(logging.WARNING if is_quiet() else logging.INFO)
    logger.propagate = False


class _Parser(argparse.ArgumentParser):
    """Prints help as a result, and the arguments that it quotes in errors escaped."""

    commands: Sequence[Command] = ()
    """All commands, of the parser of `ptm` itself."""

    def error(self, message: str) -> NoReturn:
        super().error(escaped(shown_url(message)))

    def format_help(self) -> str:
        if self.commands:
            return overview(self.commands)
        return super().format_help()

    def _print_message(self, message: str, file: Any = None) -> None:
        if message and file is sys.stdout:
            print_result_block(message, end="")
        elif message:
            sys.stderr.write(message)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands. Imports only their argument lists."""
    parser = _Parser(prog="ptm")
    parser.add_argument("--version", action="version", version=f"ptm {__version__}")
    parser.commands = _commands()
    choices = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in parser.commands:
        sub = choices.add_parser(command.NAME, help=command.HELP, description=command.HELP)
        sub.set_defaults(command=command.run)
        command.add_arguments(sub)
    return parser


def _commands() -> list[Command]:
    """The modules of `ptm.cli.commands`."""
    found = [
        cast(Command, importlib.import_module(f"{commands.__name__}.{info.name}"))
        for info in pkgutil.iter_modules(commands.__path__)
    ]
    return sorted(found, key=lambda command: command.ORDER)
