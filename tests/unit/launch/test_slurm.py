"""What a process finds out about the srun that started it."""

from __future__ import annotations

import os

import pytest

from ptm.errors import UserError
from ptm.launch.slurm import discover_slurm, first_host, tasks_per_node

FOUND = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_SIZE", "MASTER_ADDR", "MASTER_PORT")
# Of srun's task 5 on two hosts of four tasks each.
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
    # What is found is set in a copy, so that it does not outlive the test.
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


def test_the_meeting_point_a_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"MASTER_ADDR": "10.0.0.7", "MASTER_PORT": "23456"}

    found = discovered(monkeypatch, {**SRUN, **given})

    assert given.items() <= found.items()


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({}, id="no Slurm"),
        pytest.param({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, id="a batch script"),
        pytest.param({**SRUN, "SLURM_STEP_NUM_TASKS": "1"}, id="a shell by srun"),
        pytest.param({**SRUN, "OMPI_COMM_WORLD_SIZE": "8"}, id="mpirun inside Slurm"),
    ],
)
def test_what_srun_has_not_started_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str]
) -> None:
    assert discovered(monkeypatch, given) == {}


def test_ranks_that_another_launcher_has_set_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    assert discovered(monkeypatch, {**SRUN, "RANK": "3"}) == {"RANK": "3"}


def test_variables_that_make_no_sense_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_an_empty_list_of_hosts_is_refused() -> None:
    with pytest.raises(UserError, match="MASTER_ADDR"):
        first_host("")


def test_tasks_are_counted_for_each_node() -> None:
    assert tasks_per_node("2(x3),1") == [2, 2, 2, 1]
