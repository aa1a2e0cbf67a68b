"""Discovery of ranks that srun started."""

from __future__ import annotations

import os

import pytest

from ptm.errors import UserError
from ptm.launch.slurm import discover_slurm, first_host, tasks_per_node

FOUND = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_SIZE", "MASTER_ADDR", "MASTER_PORT")
# Variables of srun's task 5, on two hosts with four tasks each.
SRUN = {
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_ID": "0",
    "SLURM_PROCID": "5",
    "SLURM_NTASKS": "8",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
    "SLURM_NODEID": "1",
    "SLURM_LOCALID": "1",
}


def discovered(monkeypatch: pytest.MonkeyPatch, given: dict[str, str]) -> dict[str, str]:
    # discover_slurm sets the variables in a copy of os.environ, which ends with the test.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    for name in (*FOUND, "OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS"):
        clean.pop(name, None)
    monkeypatch.setattr(os, "environ", {**clean, **given})
    discover_slurm()
    return {name: os.environ[name] for name in FOUND if name in os.environ}


def test_a_task_of_srun_is_a_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    assert discovered(monkeypatch, SRUN) == {
        "RANK": "5",
        "WORLD_SIZE": "8",
        "LOCAL_RANK": "1",
        "LOCAL_SIZE": "4",
        "MASTER_ADDR": "gpu07",
        "MASTER_PORT": "24711",
    }


def test_a_master_address_and_port_set_by_the_user_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = {"MASTER_ADDR": "10.0.0.7", "MASTER_PORT": "23456"}

    found = discovered(monkeypatch, {**SRUN, **given})

    assert given.items() <= found.items()


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({}, id="no Slurm"),
        pytest.param({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, id="a batch script"),
        pytest.param({**SRUN, "SLURM_STEP_NUM_TASKS": "1"}, id="a shell started by srun"),
        pytest.param({**SRUN, "OMPI_COMM_WORLD_SIZE": "8"}, id="mpirun inside Slurm"),
    ],
)
def test_processes_that_srun_has_not_started_are_unchanged(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str]
) -> None:
    assert discovered(monkeypatch, given) == {}


def test_a_rank_set_by_another_launcher_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    assert discovered(monkeypatch, {**SRUN, "RANK": "3"}) == {"RANK": "3"}


def test_malformed_variables_are_named_in_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="SLURM_STEP_TASKS_PER_NODE"):
        discovered(monkeypatch, {**SRUN, "SLURM_STEP_TASKS_PER_NODE": "some"})


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("node-1", "node-1"),
        ("node-1,node-2", "node-1"),
        ("gpu[07-09,12],cpu1", "gpu07"),
        ("rack[3]-n", "rack3-n"),
        ("a[2,5]", "a2"),
    ],
)
def test_the_first_host_of_a_list_is_found(nodes: str, host: str) -> None:
    assert first_host(nodes) == host


def test_an_empty_node_list_is_an_error() -> None:
    with pytest.raises(UserError, match="MASTER_ADDR"):
        first_host("")


def test_tasks_are_counted_per_node() -> None:
    assert tasks_per_node("2(x3),1") == [2, 2, 2, 1]
