"""Ranks that srun started: what DeepSpeed's own launcher would have put into the environment."""

from __future__ import annotations

import os
import re

from ptm.errors import UserError

_OF_OTHERS = ("RANK", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS")
"""Set where another launcher has started this process, inside Slurm perhaps: torch's or
DeepSpeed's, Open MPI's mpirun, MPICH's mpiexec."""
_FIRST_PORT, _PORTS = 20000, 10000


def discover_slurm() -> None:
    """Under srun, set RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_SIZE, MASTER_ADDR and MASTER_PORT.

    Nothing happens where srun has not started several tasks, or where another launcher has started
    this process. A batch script also has SLURM_PROCID and SLURM_NTASKS, and is one process; only
    srun sets SLURM_STEP_NUM_TASKS. MASTER_ADDR and MASTER_PORT stay where they are set; otherwise
    the ranks meet at the step's first host, at a port made from the job's number.

    Raises UserError where Slurm's variables make no sense.
    """
    if "SLURM_PROCID" not in os.environ or any(name in os.environ for name in _OF_OTHERS):
        return
    if int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) < 2:
        return
    nodes = os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_JOB_NODELIST", "")
    job, step = (os.environ.get(name, "0") for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
    try:
        counts = tasks_per_node(os.environ["SLURM_STEP_TASKS_PER_NODE"])
        found = {
            "RANK": os.environ["SLURM_PROCID"],
            "WORLD_SIZE": os.environ["SLURM_STEP_NUM_TASKS"],
            "LOCAL_RANK": os.environ["SLURM_LOCALID"],
            "LOCAL_SIZE": str(counts[int(os.environ["SLURM_NODEID"])]),
        }
        port = _FIRST_PORT + (int(job) + int(step)) % _PORTS
    except (KeyError, ValueError, IndexError) as error:
        raise UserError(
            f"srun started this process, but Slurm's variables are not as expected ({error!r}): "
            "set RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT yourself."
        ) from error
    os.environ.update(found)
    os.environ.setdefault("MASTER_ADDR", first_host(nodes))
    os.environ.setdefault("MASTER_PORT", str(port))


def tasks_per_node(text: str) -> list[int]:
    """`2(x3),1` is two tasks on each of three nodes and one on a fourth. Raises ValueError."""
    counts: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part)
        if match is None:
            raise ValueError(f"SLURM_STEP_TASKS_PER_NODE={text}")
        counts += [int(match[1])] * int(match[2] or 1)
    return counts


def first_host(nodes: str) -> str:
    """`gpu[07-09,12],cpu1` begins with gpu07. Raises UserError where there is none."""
    match = re.match(r"([^\[,]+)(?:\[(\w+)[^\]]*\]([^,\[]*))?", nodes)
    if match is None:
        raise UserError(
            f"SLURM_STEP_NODELIST={nodes}: names no host: set MASTER_ADDR to rank 0's address."
        )
    return "".join(part or "" for part in match.groups())
