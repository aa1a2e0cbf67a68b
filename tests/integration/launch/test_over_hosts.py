"""`ptm launch --hostfile` over two hosts: forwarded variables, secrets, stopping, errors."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.integration.launch.conftest import ENDLESS, SECONDS
from tests.integration.launch.test_launching import SECRET, command_lines, holds
from tests.support.small_runs import QUICKSTART, small_overrides
from tests.support.two_hosts import TwoHosts


def test_hosts_are_stopped_together_and_no_secret_is_exposed(
    hosts: TwoHosts,
    store: Path,
    stub_path: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    monkeypatch.setenv("HF_HOME", "/with $HOME and spaces")
    # Over ssh, HOME is the folder in the password file.
    sent = Path("~root").expanduser() / ".cache" / "ptm"
    before = set(sent.glob("env-*"))
    run = tmp_path / "runs" / "hosts"
    seen: list[str] = []

    def stop_after_a_checkpoint() -> None:
        end = time.monotonic() + SECONDS
        while not (run / "checkpoints" / "global_step20").exists():
            assert time.monotonic() < end, "no checkpoint"
            lines = command_lines()
            assert SECRET not in lines
            seen.append(lines)
            time.sleep(0.2)
        (launcher,) = [
            process.pid
            for process in map(psutil.Process, hosts.hosts[0].processes())
            if process.cmdline()[1:4] == ["-m", "ptm", "launch"]
        ]
        os.kill(launcher, signal.SIGTERM)

    recipe = str(QUICKSTART / "roberta-tiny.yaml")
    overrides = small_overrides(store, tmp_path / "runs", "hosts", *ENDLESS)
    command = ["env", f"PYTHONPATH={stub_path}", sys.executable, "-m", "ptm", "launch"]
    command += [f"--hostfile={hosts.hostfile(slots=1)}", recipe, *overrides]
    (ended,) = hosts.run(command, seconds=SECONDS, meanwhile=stop_after_a_checkpoint)

    assert ended.code == 75, ended.message[-8000:]
    assert "SIGTERM: stopping" in ended.message
    arrived = {path.name: path.read_text() for path in run.glob("arrived-*")}
    expected = f"{SECRET[:6]}|/with $HOME and spaces"
    assert arrived == {f"arrived-{host.name}": expected for host in hosts.hosts}
    assert any("deepspeed.launcher.launch" in lines for lines in seen)
    assert SECRET not in ended.message
    assert holds(tmp_path, SECRET) == []
    assert set(sent.glob("env-*")) == before


def test_a_host_that_ssh_cannot_reach_is_named(
    hosts: TwoHosts, store: Path, tmp_path: Path
) -> None:
    path = tmp_path / "hostfile"
    path.write_text("node-a slots=1\nnode-z slots=1\n")
    recipe = str(QUICKSTART / "roberta-tiny.yaml")
    overrides = small_overrides(store, tmp_path / "runs", "silent")
    command = [sys.executable, "-m", "ptm", "launch", f"--hostfile={path}", recipe, *overrides]

    (ended,) = hosts.run(command, seconds=60)

    assert ended.code == 2, ended.message
    assert "ptm: ssh cannot reach node-z (" in ended.message
    assert not (tmp_path / "runs").exists()
