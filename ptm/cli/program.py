"""`ptm` as a program of its own: runs one command and ends the process."""

from __future__ import annotations

import atexit
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from ptm.cli.entry import main
from ptm.errors import EXIT_DONE, EXIT_FAULT


def run_program(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command, then end the process with its exit code. See `_end` for how."""
    # Handlers run in reverse order, so that those of every library that the command imports come
    # before this one.
    atexit.register(_end, code := _ExitCode())
    try:
        code.value = main(arguments)
    except SystemExit as error:
        code.value = _exit_code_of(error)
    except Exception:
        sys.excepthook(*sys.exc_info())
        code.value = EXIT_FAULT
    sys.exit(code.value)


class _ExitCode:
    value: int | None = None
    """None until the command has ended; also if an interrupt ended it from outside."""


def _exit_code_of(error: SystemExit) -> int:
    if error.code is None or isinstance(error.code, int):
        return error.code or EXIT_DONE
    sys.stderr.write(f"{error.code}\n")
    return EXIT_FAULT


def _end(code: _ExitCode) -> None:
    """End the process without finalising the interpreter.

    Threads of gloo, of autograd or of a tracker that hangs may still use tensors. Once the
    interpreter is being finalised, Python ends each thread that needs the GIL by unwinding its
    stack. C++ does not allow that below a destructor, such as pybind11's `gil_scoped_release` in
    every operation of torch: the process aborts ("terminate called without an active exception",
    exit code -6) although its work is done (https://github.com/pytorch/pytorch/issues/190489).
    """
    if code.value is None:
        return
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        # Python has no stream (None) for a descriptor that was closed at the start.
        with suppress(AttributeError, OSError, ValueError):
            stream.flush()
    os._exit(code.value)
