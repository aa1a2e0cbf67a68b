"""Environment variables and arguments for other hosts; other users cannot read secrets."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from ptm.errors import UserError
from ptm.launch.command import (
    Options,
    decode_arguments,
    encode_arguments,
    launcher_command,
    resolve_target,
)
from ptm.launch.environment import SENT, forwarded, receive, without_secrets

SECRETS = {
    "WANDB_API_KEY": "sekret123",
    "HF_TOKEN": "sekret123",
    "https_proxy": "http://me:sekret123@proxy:3128",
    "PTM_DB_PASSWORD": "sekret123",
}
PLAIN = {
    "PATH": "/venv/bin:/usr/bin",
    "OMP_NUM_THREADS": "8",
    "NCCL_SOCKET_IFNAME": "eth0",
    "HTTP_PROXY": "http://proxy:3128",
    "no_proxy": "localhost,10.0.0.0/8",
    "TOKENIZERS_PARALLELISM": "false",
    "WANDB_MODE": "offline",
}
STAY = {"HOME": "/root", "CUDA_VISIBLE_DEVICES": "0", "RANK": "0", "SHELL": "/bin/sh"}


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def test_plain_variables_are_forwarded_openly_and_secrets_are_not() -> None:
    found = forwarded({**SECRETS, **PLAIN, **STAY})

    assert found.plain == PLAIN
    assert found.sent == SECRETS
    assert "sekret123" not in found.env_file()


def test_values_that_a_shell_would_change_are_sent_like_secrets() -> None:
    found = forwarded({"PYTHONWARNINGS": "ignore::X; $HOME `x`", "HF_HOME": "/with space"})

    assert found.plain == {}
    assert set(found.sent) == {"PYTHONWARNINGS", "HF_HOME"}


def test_hidden_gpus_are_hidden_on_other_hosts_too() -> None:
    assert forwarded({"CUDA_VISIBLE_DEVICES": ""}).plain == {"CUDA_VISIBLE_DEVICES": ""}


def test_the_env_file_takes_precedence_and_may_have_empty_lines(tmp_path: Path) -> None:
    (tmp_path / "home" / ".deepspeed_env").write_text("OMP_NUM_THREADS=2\nMINE=1\n")
    (tmp_path / ".deepspeed_env").write_text("\n# mine\nOMP_NUM_THREADS=4\nMY_SECRET=sekret123\n")

    found = forwarded({"OMP_NUM_THREADS": "8"})

    assert found.env_file() == "MINE=1\nOMP_NUM_THREADS=4\n"
    assert found.sent == {"MY_SECRET": "sekret123"}


def test_an_invalid_line_of_the_env_file_is_reported_with_its_number(tmp_path: Path) -> None:
    (tmp_path / ".deepspeed_env").write_text("A=1\nB\n")

    with pytest.raises(UserError, match=r"\.deepspeed_env:2: "):
        forwarded({})


def test_deepspeeds_launcher_receives_no_secret() -> None:
    # It would write MLFLOW_TRACKING_PASSWORD into a command line on every host.
    mlflow = {"MLFLOW_TRACKING_PASSWORD": "sekret123", "MLFLOW_TRACKING_URI": "http://host"}

    left = without_secrets({**SECRETS, **PLAIN, **mlflow})

    assert left == {**PLAIN, "MLFLOW_TRACKING_URI": "http://host"}


def test_only_the_owner_can_read_the_variables_sent_to_ranks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = forwarded({**SECRETS, "HF_HOME": "with 'quotes' and\nlines"})
    subprocess.run(
        ["sh", "-c", found.script("1234")], input=found.given().encode(), check=True, timeout=20
    )
    (file,) = (tmp_path / "home" / ".cache" / "ptm").iterdir()
    monkeypatch.setattr(os, "environ", {**os.environ, SENT: file.name})

    receive()

    assert file.stat().st_mode & 0o077 == 0
    assert {name: os.environ[name] for name in found.sent} == found.sent
    assert json.loads(found.given()) == found.sent


def test_arguments_that_a_shell_would_change_are_encoded_as_one_safe_argument() -> None:
    words = ["a recipe.yaml", "model={a: 1}", "data.corpus=*.txt", "name=%h", "--fresh", "中文"]

    word = encode_arguments(words)

    assert decode_arguments(["--local_rank=0", word]) == words
    printed = subprocess.run(["sh", "-c", f"printf %s {word}"], capture_output=True, check=True)
    assert printed.stdout.decode() == word


def test_the_command_for_other_hosts_encodes_arguments_that_a_shell_would_change(
    tmp_path: Path,
) -> None:
    (tmp_path / "hosts").write_text("far slots=2\n")
    options = Options("r.yaml", ["data.corpus=*.txt"], hostfile="hosts", num_gpus=1)

    command = launcher_command(options, resolve_target(options), address="10.0.0.1", port=2345)

    assert "--force_multi" in command
    assert decode_arguments(command[-1:]) == ["r.yaml", "data.corpus=*.txt"]
    assert command[command.index("--master_port") + 1] == "2345"


def test_the_command_that_resumes_a_run_omits_fresh() -> None:
    options = Options("r.yaml", ["a=[1, 2]"], fresh=True, num_gpus=2, launcher_args="-x y")

    again = options.again()

    assert again == "ptm launch --num-gpus=2 '--launcher-args=-x y' r.yaml 'a=[1, 2]'"
