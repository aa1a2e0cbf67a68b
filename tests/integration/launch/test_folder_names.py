"""Launches from folders with any name: nothing of it is run, split or expanded by a shell."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.integration.launch.conftest import ENDLESS, SECONDS
from tests.support.covers import by_default
from tests.support.fake_hosts import make_fake_hosts
from tests.support.small_runs import PROJECT, QUICKSTART, small_overrides

NAMES = {
    "all": "a b 'c' \"d\" $(touch PWNED) `touch PWNED` $HOME * %h 中文; touch PWNED; cd x\ny&z",
    "spaces": "my folder",
    "command": "x;touch PWNED;cd y",
    "quotes": 'it\'s "it"',
    "substitution": "$(touch PWNED)`touch PWNED`",
    "chinese": "语料 库",
    "newline": "one\ntouch PWNED\ntwo",
}
LAUNCHERS = ("pdsh", "openmpi", "local")
CASES = [(launcher, name) for launcher in LAUNCHERS for name in NAMES]
# Launches on one machine run by default in test_launching.py.
DEFAULT = [("pdsh", "all"), ("openmpi", "all")]
OPENMPI = "--allow-run-as-root --oversubscribe --mca plm_ssh_agent ssh --bind-to none"
SECRET = "sekret-9f31c7"
# Variables that a launcher would forward; their values must not be seen by other users.
PLANTED = (
    *("HF_PAT", "HF_ACCESS", "HF_TOKEN", "NCCL_AUTH", "NCCL_NET_SECRET", "WANDB_API_KEY"),
    *("WANDB_HTTP_HEADER", "WANDB_X_EXTRA_HTTP_HEADERS", "PYTHON_AUTH", "PYTHONSECRET"),
    *("OMP_LICENSE", "TORCH_LOGIN", "GLOO_PIN", "CUDA_LICENSE", "DS_CREDS", "PTM_DB"),
    *("MLFLOW_TRACKING_PASSWORD", "MV2_PIN", "UCX_AUTH", "all_proxy", "http_proxy"),
)


def environment(home: Path, path: str, stub_path: str) -> dict[str, str]:
    secrets = dict.fromkeys(PLANTED, SECRET) | {"http_proxy": f"http://{SECRET}@proxy:1"}
    keep = {name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ}
    ours = {
        "HOME": str(home),
        "PATH": path,
        "PYTHONPATH": stub_path,
        "OMP_NUM_THREADS": "1",
        "DS_ACCELERATOR": "cpu",
    }
    return {**keep, **secrets, **ours, "DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": ""}


def visible_secrets() -> list[str]:
    """Command lines of this machine that contain the secret."""
    found = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if SECRET in line:
            found.append(line)
    return found


@pytest.mark.parametrize(("launcher", "name"), [by_default(case, DEFAULT) for case in CASES])
def test_a_launch_from_any_folder_trains_in_it_and_shows_no_secret(
    store: Path, stub_path: str, tmp_path: Path, launcher: str, name: str
) -> None:
    folder = tmp_path / "work" / NAMES[name]
    folder.mkdir(parents=True)
    text = "localhost slots=2\n" if launcher == "openmpi" else "alpha slots=1\nbeta slots=1\n"
    (folder / "a host file").write_text(text)
    (folder / "a recipe.yaml").write_text((QUICKSTART / "roberta-tiny.yaml").read_text())
    path = make_fake_hosts(tmp_path, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    options = {
        "pdsh": ["--hostfile=a host file"],
        "openmpi": ["--hostfile=a host file", "--launcher=openmpi", f"--launcher-args={OPENMPI}"],
        "local": ["--num-gpus=2"],
    }[launcher]
    overrides = small_overrides(store, Path("runs"), "any", *ENDLESS)
    log = tmp_path / "log"
    run = folder / "runs" / "any"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "ptm", "launch", *options, "a recipe.yaml", *overrides],
            cwd=folder,
            env=environment(tmp_path / "home", path, stub_path),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            end = time.monotonic() + SECONDS
            while not (run / "checkpoints" / "global_step20").exists():
                assert process.poll() is None, log.read_text(errors="replace")
                assert time.monotonic() < end, log.read_text(errors="replace")
                assert visible_secrets() == []
                time.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            code = process.wait(SECONDS)
        finally:
            process.kill()
    message = log.read_text(errors="replace")
    assert code == 75, message
    assert SECRET not in message
    assert [path for path in tmp_path.rglob("PWNED") if path.is_file()] == []
    # Only the stub writes the part of a secret that reached it.
    files = [path for path in (tmp_path / "work").rglob("*") if path.is_file()]
    assert [file for file in files if SECRET in file.read_text(errors="replace")] == []
    (arrived,) = {path.read_text() for path in run.glob("arrived-*")}
    assert arrived == f"{SECRET[:6]}|"
    assert sorted((folder / "runs").iterdir()) == [run]
    assert not list((tmp_path / "home").rglob("env-*"))


def test_ranks_started_by_hand_train_in_any_folder(
    store: Path, stub_path: str, tmp_path: Path
) -> None:
    folder = tmp_path / NAMES["all"].replace("/", "")
    folder.mkdir()
    recipe = str(QUICKSTART / "roberta-tiny.yaml")
    overrides = small_overrides(store, Path("runs"), "any", "train.steps=2")
    done = subprocess.run(
        [sys.executable, str(PROJECT / "launch" / "train.py"), recipe, *overrides],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    records = (folder / "runs" / "any" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(records[-1])["step"] == 2
