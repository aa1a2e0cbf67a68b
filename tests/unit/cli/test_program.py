"""How the process of a command ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ptm.version import __version__

# Threads that are inside an operation of torch when the command ends, as those of gloo are.
_BUSY_THREADS = """
import threading, time, torch
def work():
    values = torch.ones(100, 100)
    while True:
        values @ values
for _ in range(2):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.1)
"""


def _run(script: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_threads_that_use_torch_do_not_abort_the_process_at_its_end() -> None:
    ended = _run(
        f"{_BUSY_THREADS}\nfrom ptm.cli.program import run_program\nrun_program(['--version'])"
    )
    assert (ended.returncode, ended.stdout) == (0, f"ptm {__version__}\n"), ended.stderr


def test_exit_handlers_and_log_handlers_run_before_the_end() -> None:
    ended = _run(
        "import atexit, logging.handlers, ptm.cli.program as program\n"
        "def main(arguments):\n"
        "    target = logging.StreamHandler()\n"
        "    logging.getLogger().addHandler(logging.handlers.MemoryHandler(9, target=target))\n"
        "    logging.warning('kept in memory')\n"
        "    atexit.register(print, 'exit handler', end='')\n"
        "    return 75\n"
        "program.main = main\n"
        "program.run_program([])"
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (
        75,
        "exit handler",
        "kept in memory\n",
    )


@pytest.mark.parametrize(
    ("failure", "code", "message"),
    [
        ("sys.exit(2)", 2, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit('a reason')", 1, "a reason\n"),
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
    ],
)
def test_other_ends_keep_their_exit_code_and_message(failure: str, code: int, message: str) -> None:
    ended = _run(
        "import sys, ptm.cli.program as program\n"
        "def main(arguments):\n"
        f"    {failure}\n"
        "program.main = main\n"
        "program.run_program([])"
    )
    assert ended.returncode == code
    assert ended.stderr.endswith(message)
