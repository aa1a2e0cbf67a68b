"""What goes wrong on some ranks is said, and once."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ptm.cli import entry, main
from ptm.errors import EXIT_USER, SharedError, UserError

ONE_OF_TWO = """\
import os, sys
os.environ.update(RANK=sys.argv[1], WORLD_SIZE="2", PTM_LAUNCH="one-of-two")
from ptm.cli.once import say
say(f"ptm: {sys.argv[2]}", on_all=False)
"""


def said_by_two(capfd: pytest.CaptureFixture[str], *sentences: str) -> list[str]:
    """What two processes, ranks 0 and 1, tell of these."""
    ranks = [
        subprocess.Popen([sys.executable, "-c", ONE_OF_TWO, str(rank), sentence])
        for rank, sentence in enumerate(sentences)
    ]
    assert [rank.wait(20) for rank in ranks] == [0] * len(ranks)
    return capfd.readouterr().err.splitlines()


def test_two_ranks_with_one_mistake_say_it_once(capfd: pytest.CaptureFixture[str]) -> None:
    assert said_by_two(capfd, "no such port", "no such port") == ["ptm: no such port"]
    # Nothing is left that would keep the next launch silent.
    assert said_by_two(capfd, "no such port", "no such port") == ["ptm: no such port"]


def test_two_ranks_with_two_mistakes_say_both(capfd: pytest.CaptureFixture[str]) -> None:
    assert sorted(said_by_two(capfd, "no port", "no host")) == ["ptm: no host", "ptm: no port"]


@pytest.mark.parametrize(
    ("rank", "error", "says"),
    [
        (None, UserError("wrong"), True),
        ("0", UserError("wrong"), True),
        ("1", UserError("wrong"), True),
        ("0", SharedError("wrong"), True),
        ("1", SharedError("wrong"), False),
    ],
)
def test_a_mistake_of_a_single_rank_is_not_silent(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    rank: str | None,
    error: UserError,
    says: bool,
) -> None:
    def fail(*words: object) -> None:
        raise error

    monkeypatch.setattr("ptm.cli.once.SECONDS", 0.0)
    monkeypatch.setattr(entry, "check_duplicate_overrides", fail)
    if rank is None:
        monkeypatch.delenv("RANK", raising=False)
    else:
        monkeypatch.setenv("RANK", rank)
    assert main(["runs"]) == EXIT_USER
    assert capsys.readouterr().err == ("ptm: wrong\n" if says else "")
