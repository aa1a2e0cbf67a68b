"""Environment variables and arguments for other hosts; other users cannot read secrets."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from ptm.errors import UserError
from ptm.launch.command import Options, launcher_command, resolve_target
from ptm.launch.environment import ON_COMMAND_LINES, SENT, for_launcher, forwarded, receive
from ptm.launch.rank_arguments import decode_arguments, encode_arguments

SECRET = "sekret123"
_NAMES = """
WANDB_API_KEY WANDB_HTTP_HEADER WANDB_IDENTITY_TOKEN_FILE WANDB_X_EXTRA HF_TOKEN HF_PAT HF_ACCESS
HF_HUB_LOGIN NCCL_AUTH NCCL_SECRETS_OF_MINE OMP_AUTH TORCH_LOGIN GLOO_TLS_PIN CUDA_LICENSE DS_CREDS
PTM_DB_PASSWORD PYTHON_KEYRING_PASS PYTHONCODE MLFLOW_TRACKING_PASSWORD MV2_PIN UCX_AUTH https_proxy
"""
SECRETS = {
    **dict.fromkeys(_NAMES.split(), SECRET),
    "http_proxy": f"http://{SECRET}@proxy:3128",
    "HTTPS_PROXY": f"http://me:{SECRET}@proxy:3128",
    "NCCL_SOCKET_IFNAME": f"user:{SECRET}@eth0",
}
"""Names that DeepSpeed or ptm would forward; some look harmless, and their values do not."""
PLAIN = {
    "PATH": "/venv/bin:/usr/bin",
    "OMP_NUM_THREADS": "8",
    "NCCL_IB_HCA": "mlx5_0:1,mlx5_1:1",
    "TOKENIZERS_PARALLELISM": "false",
    "WANDB_MODE": "offline",
}
STAY = {"HOME": "/root", "CUDA_VISIBLE_DEVICES": "0", "RANK": "0", "SHELL": "/bin/sh"}


FOLDER = "a 'b' \"c\"; $(touch x) `y` %h 中文\n&d"


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def test_plain_variables_are_forwarded_openly_and_secrets_are_not() -> None:
    found = forwarded({**SECRETS, **PLAIN, **STAY})

    of_deepspeed = ("MLFLOW", "MV2_", "UCX_")
    assert found.plain == PLAIN
    assert found.sent == {k: v for k, v in SECRETS.items() if not k.startswith(of_deepspeed)}
    assert SECRET not in found.env_file()


def test_values_that_a_shell_would_change_are_sent_like_secrets() -> None:
    found = forwarded({"PYTHONWARNINGS": "ignore::X; $HOME `x`", "HF_HOME": "/with space"})

    assert found.plain == {}
    assert set(found.sent) == {"PYTHONWARNINGS", "HF_HOME"}


def test_hidden_gpus_are_hidden_on_other_hosts_too() -> None:
    assert forwarded({"CUDA_VISIBLE_DEVICES": ""}).plain == {"CUDA_VISIBLE_DEVICES": ""}


def test_the_env_file_takes_precedence_and_may_have_empty_lines(tmp_path: Path) -> None:
    (tmp_path / "home" / ".deepspeed_env").write_text("OMP_NUM_THREADS=2\nNCCL_DEBUG=INFO\n")
    (tmp_path / ".deepspeed_env").write_text("\n# mine\nOMP_NUM_THREADS=4\nMINE=1\n")

    found = forwarded({"OMP_NUM_THREADS": "8"})

    assert found.env_file() == "NCCL_DEBUG=INFO\nOMP_NUM_THREADS=4\n"
    assert found.sent == {"MINE": "1"}


@pytest.mark.parametrize("line", ["B", "B;x=1", "1B=1", "Ä=1", "B$(x)=1"])
def test_an_invalid_line_of_the_env_file_is_reported_with_its_number(
    tmp_path: Path, line: str
) -> None:
    (tmp_path / ".deepspeed_env").write_text(f"A=1\n{line}\n")

    with pytest.raises(UserError, match=r"\.deepspeed_env:2: "):
        forwarded({})


def test_deepspeeds_launcher_receives_no_secret() -> None:
    ssh = {"SSH_AUTH_SOCK": "/tmp/agent", "PDSH_SSH_ARGS_APPEND": "-p 2222", "LC_ALL": "C.UTF-8"}

    left = for_launcher({**SECRETS, **PLAIN, **STAY, **ssh, "HF_X;touch": "1"})

    here = {name: value for name, value in STAY.items() if name != "RANK"}
    assert left == {**PLAIN, **ssh, **here}


def test_the_listed_names_are_none_of_a_secret() -> None:
    assert not [n for n in ON_COMMAND_LINES if re.search("KEY|TOKEN_|AUTH|PASS|SECRET|PROXY", n)]


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


def test_arguments_and_folder_are_encoded_as_one_safe_argument(tmp_path: Path) -> None:
    words = ["a recipe.yaml", "model={a: 1}", "data.corpus=*.txt", "name=%h", "--fresh", "中文"]

    folder = tmp_path / FOLDER
    folder.mkdir()

    word = encode_arguments(words, folder=folder)

    assert decode_arguments(["--local_rank=0", word]) == words
    assert Path.cwd() == folder
    printed = subprocess.run(["sh", "-c", f"printf %s {word}"], capture_output=True, check=True)
    assert printed.stdout.decode() == word


def test_a_host_without_the_folder_is_an_error(tmp_path: Path) -> None:
    word = encode_arguments([], folder=tmp_path / "absent")
    with pytest.raises(UserError, match=r"absent: this host cannot use the folder"):
        decode_arguments([word])
    with pytest.raises(UserError, match="not written by ptm launch"):
        decode_arguments(["--words=x"])


def test_the_command_for_other_hosts_encodes_arguments_and_names_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / FOLDER
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "hosts").write_text("far slots=2\n")
    options = Options("r.yaml", ["data.corpus=*.txt"], hostfile="hosts", num_gpus=1)

    command = launcher_command(options, resolve_target(options), address="10.0.0.1", port=2345)

    assert "--force_multi" in command
    assert command[command.index("--hostfile") + 1] == str(folder / "hosts")
    assert decode_arguments(command[-1:]) == ["r.yaml", "data.corpus=*.txt"]
    assert command[command.index("--master_port") + 1] == "2345"


def test_the_command_that_resumes_a_run_omits_fresh() -> None:
    options = Options("r.yaml", ["a=[1, 2]"], fresh=True, num_gpus=2, launcher_args="-x y")

    again = options.again()

    assert again == "ptm launch --num-gpus=2 '--launcher-args=-x y' r.yaml 'a=[1, 2]'"
