"""Variables of a launcher that do not fit are explained at once, and not waited upon."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ptm.cli import main
from ptm.errors import EXIT_USER, UserError
from ptm.rank_environment import check_rank_environment
from tests.support.small_runs import PROJECT, QUICKSTART, Runs

TWO = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
RECIPE = str(QUICKSTART / "roberta-tiny.yaml")


def set_environment(patch: pytest.MonkeyPatch, values: dict[str, str]) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        patch.delenv(name, raising=False)
    for name, value in values.items():
        patch.setenv(name, value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"RANK": "5"}, r"RANK=5 of WORLD_SIZE=2: ranks count from 0 to 1"),
        ({"RANK": "2"}, r"RANK=2 of WORLD_SIZE=2"),
        ({"RANK": "-1"}, r"RANK=-1 is not a number from 0"),
        ({"RANK": "one"}, r"RANK=one is not a number from 0"),
        ({"RANK": "9" * 5000}, r"RANK=9+ is not a number from 0"),
        ({"WORLD_SIZE": "0"}, r"WORLD_SIZE=0 is not a number from 1"),
        ({"WORLD_SIZE": "999999999"}, r"WORLD_SIZE=999999999 is not a number from 1 to 131072"),
        ({"LOCAL_RANK": "2", "LOCAL_SIZE": "2"}, r"LOCAL_RANK=2 of LOCAL_SIZE=2"),
        ({"RANK": ""}, r"WORLD_SIZE=2, but RANK is not set"),
        ({"MASTER_ADDR": "", "MASTER_PORT": ""}, r"MASTER_ADDR and MASTER_PORT are not set"),
        ({"MASTER_PORT": "70000"}, r"MASTER_PORT=70000 is not a number from 1 to 65535"),
        ({"MASTER_ADDR": "no host"}, r"MASTER_ADDR=no host: the address of rank 0 cannot be"),
        ({"MASTER_ADDR": "x" * 300}, r"the address of rank 0 cannot be resolved"),
    ],
)
def test_variables_that_do_not_fit_are_an_error(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, str], message: str
) -> None:
    set_environment(monkeypatch, {**TWO, **change})
    with pytest.raises(UserError, match=message):
        check_rank_environment()


@pytest.mark.parametrize("values", [{}, TWO, {**TWO, "LOCAL_RANK": "1", "LOCAL_SIZE": "2"}])
def test_variables_that_fit_are_accepted(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str]
) -> None:
    set_environment(monkeypatch, values)
    check_rank_environment()


def test_a_wrong_number_of_local_ranks_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_environment(monkeypatch, {"LOCAL_SIZE": "all"})
    assert main(["validate", RECIPE]) == EXIT_USER
    assert "LOCAL_SIZE=all is not a number from 1" in capsys.readouterr().err


def test_a_port_that_is_taken_is_explained_within_seconds(runs: Runs) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "ptm", "train", *runs.arguments("taken")],
            env={"PYTHONPATH": str(PROJECT), **TWO, "RANK": "0", "MASTER_PORT": port},
            capture_output=True,
            text=True,
            timeout=100,
        )
    assert done.returncode == EXIT_USER, done.stderr
    assert f"MASTER_PORT={port}: another program on" in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - began < 60
    assert not (runs.folder / "taken").exists()


def test_a_master_port_that_is_taken_is_found_before_a_launch(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        options = ["--num-gpus=2", f"--master-port={port}"]
        assert main(["launch", *options, *runs.arguments("taken")]) == EXIT_USER
    assert f"--master-port {port}: cannot be used (Address already in use)" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--master-addr=x;touch PWNED"], "is not a host name or an address"),
        (["--master-addr=-x"], "is not a host name or an address"),
        (["--launcher-args=--x 'y"], "No closing quotation"),
        (["--include=node-1:²"], "has the slots 0, 1"),
    ],
)
def test_options_that_a_shell_would_interpret_are_rejected(
    runs: Runs,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    (tmp_path / "hosts").write_text("node-1 slots=2\nnode-2 slots=2\n")
    arguments = [f"--hostfile={tmp_path / 'hosts'}", *options, *runs.arguments("any")]
    assert main(["launch", *arguments]) == EXIT_USER
    assert message in capsys.readouterr().err
