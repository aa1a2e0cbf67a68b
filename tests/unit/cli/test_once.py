"""Errors of one or more ranks are printed once."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ptm.cli import main
from ptm.errors import EXIT_USER, SharedError, UserError

ONE_OF_TWO = """\
import os, sys
os.environ.update(RANK=sys.argv[1], WORLD_SIZE="2", PTM_LAUNCH="one-of-two")
from ptm.cli.once import report_error_once
report_error_once(f"ptm: {sys.argv[2]}", on_all=False)
"""


def printed_by_two_ranks(capfd: pytest.CaptureFixture[str], *sentences: str) -> list[str]:
    """The lines on stderr of ranks 0 and 1, two processes that report these errors."""
    ranks = [
        subprocess.Popen([sys.executable, "-c", ONE_OF_TWO, str(rank), sentence])
        for rank, sentence in enumerate(sentences)
    ]
    assert [rank.wait(20) for rank in ranks] == [0] * len(ranks)
    return capfd.readouterr().err.splitlines()


def test_two_ranks_with_the_same_error_print_it_once(capfd: pytest.CaptureFixture[str]) -> None:
    assert printed_by_two_ranks(capfd, "no such port", "no such port") == ["ptm: no such port"]
    # The first launch leaves no lock that would suppress the error of the next one.
    assert printed_by_two_ranks(capfd, "no such port", "no such port") == ["ptm: no such port"]


def test_two_ranks_with_different_errors_print_both(capfd: pytest.CaptureFixture[str]) -> None:
    assert sorted(printed_by_two_ranks(capfd, "no port", "no host")) == [
        "ptm: no host",
        "ptm: no port",
    ]


@pytest.mark.parametrize(
    ("rank", "error", "printed"),
    [
        (None, UserError("wrong"), True),
        ("0", UserError("wrong"), True),
        ("1", UserError("wrong"), True),
        ("0", SharedError("wrong"), True),
        ("1", SharedError("wrong"), False),
    ],
)
def test_an_error_is_printed_unless_it_is_shared_and_another_rank_prints_it(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    rank: str | None,
    error: UserError,
    printed: bool,
) -> None:
    def fail(*words: object) -> None:
        raise error

    monkeypatch.setattr("ptm.cli.once.SECONDS", 0.0)
    monkeypatch.setattr("ptm.cli.commands.runs.run", fail)
    if rank is None:
        monkeypatch.delenv("RANK", raising=False)
    else:
        monkeypatch.setenv("RANK", rank)
    assert main(["runs"]) == EXIT_USER
    assert capsys.readouterr().err == ("ptm: wrong\n" if printed else "")
