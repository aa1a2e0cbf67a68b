"""Standard output that cannot be written: no traceback, and an exit code that says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ptm.errors import EXIT_DONE, EXIT_USER
from tests.support.small_runs import PROJECT, QUICKSTART

RECIPE = str(QUICKSTART / "roberta-tiny.yaml")
CHINESE = ("validate", "--print", RECIPE, "data.store=中文😀")
# A result: text that the user wants. Work: files, of which the command only reports.
RESULTS = {
    "validate": ("validate", RECIPE),
    "runs": ("runs", str(QUICKSTART)),
    "dashboard": ("dashboard", "--project", "p", "--print"),
    "help": ("train", "--help"),
    "version": ("--version",),
}


def ptm(
    *arguments: str, redirect: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run `ptm` as a process, with a redirection of the shell; its $0 is Python."""
    words = " ".join(f'"${{{index}}}"' for index in range(1, len(arguments) + 1))
    script = f'set -o pipefail; "$0" -m ptm {words} {redirect}'
    return subprocess.run(
        ["bash", "-c", script, sys.executable, *arguments],
        capture_output=True,
        timeout=60,
        env={"PYTHONPATH": str(PROJECT), **(environment or {})},
    )


@pytest.mark.parametrize("command", RESULTS)
def test_a_result_on_a_full_disk_is_an_error(command: str) -> None:
    done = ptm(*RESULTS[command], redirect=">/dev/full")
    message = b"ptm: standard output cannot be written: No space left on device.\n"
    assert (done.returncode, done.stderr) == (EXIT_USER, message)


def test_a_result_on_a_closed_output_is_an_error() -> None:
    done = ptm(*RESULTS["runs"], redirect=">&-")
    message = b"ptm: standard output cannot be written: Bad file descriptor.\n"
    assert (done.returncode, done.stderr) == (EXIT_USER, message)


@pytest.mark.parametrize("command", ["validate", "runs", "dashboard", "help"])
def test_a_reader_that_has_read_enough_is_no_error(command: str) -> None:
    done = ptm(*RESULTS[command], redirect="| true")
    assert (done.returncode, done.stderr) == (EXIT_DONE, b"")


@pytest.mark.parametrize("redirect", ["2>/dev/full", "2>&-"])
def test_the_exit_code_of_a_mistake_does_not_need_stderr(redirect: str) -> None:
    done = ptm("validate", "nowhere.yaml", redirect=redirect)
    assert done.returncode == EXIT_USER


def test_work_that_is_done_is_a_success_whether_or_not_it_can_be_reported(tmp_path: Path) -> None:
    overrides = (
        f"data.store={tmp_path / 'store'}",
        f"data.corpus={QUICKSTART / 'corpus'}/*.txt",
        f"tokenizer.vocab={QUICKSTART / 'vocab.txt'}",
    )
    done = ptm("preprocess", RECIPE, *overrides, redirect=">/dev/full")
    assert done.returncode == EXIT_DONE
    assert b"cannot be written" not in done.stderr
    assert (tmp_path / "store" / "store.json").is_file()


@pytest.mark.parametrize(
    "environment", [{"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}]
)
def test_what_the_encoding_lacks_is_escaped(environment: dict[str, str]) -> None:
    done = ptm(*CHINESE, redirect="", environment=environment)
    assert (done.returncode, done.stderr) == (EXIT_DONE, b"")
    assert b"store: \\u4e2d\\u6587\\ud83d\\ude00" in done.stdout


@pytest.mark.parametrize("locale", ["C", "POSIX"])
def test_any_locale_prints_utf8(locale: str) -> None:
    done = ptm(*CHINESE, redirect="", environment={"LC_ALL": locale})
    assert (done.returncode, done.stderr) == (EXIT_DONE, b"")
    assert "store: 中文".encode() in done.stdout
