"""Discovery of ranks started by srun: sets the variables that DeepSpeed's launcher would set."""

from __future__ import annotations

import os
import re

from ptm.errors import UserError
from ptm.limits import MOST_RANKS

_OF_OTHERS = ("RANK", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS")
"""Set by other launchers, which may run inside a Slurm job: torch's or DeepSpeed's launcher, Open
MPI's mpirun, MPICH's mpiexec."""
_FIRST_PORT, _PORTS = 20000, 10000


def discover_slurm() -> None:
    """Under srun, set RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_SIZE, MASTER_ADDR and MASTER_PORT.

    Does nothing if srun has not started several tasks, or if another launcher has started this
    process. A batch script also has SLURM_PROCID and SLURM_NTASKS but is a single process; only
    srun sets SLURM_STEP_NUM_TASKS. MASTER_ADDR and MASTER_PORT are kept if set. Their defaults are
    the first host of the job step and a port derived from the ids of job and step.

    Raises UserError if Slurm's variables are missing or malformed.
    """
    if "SLURM_PROCID" not in os.environ or any(name in os.environ for name in _OF_OTHERS):
        return
    if os.environ.get("SLURM_STEP_NUM_TASKS", "1") in ("0", "1"):
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
            f"srun started this process, but Slurm's variables are missing or malformed "
            f"({error!r}). Set RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT yourself."
        ) from error
    os.environ.update(found)
    os.environ.setdefault("MASTER_ADDR", first_host(nodes))
    os.environ.setdefault("MASTER_PORT", str(port))


def tasks_per_node(text: str) -> list[int]:
    """Number of tasks on each node: `2(x3),1` gives [2, 2, 2, 1]. Raises ValueError."""
    counts: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"([0-9]{1,9})(?:\(x([0-9]{1,9})\))?", part)
        if match is None:
            raise ValueError(f"SLURM_STEP_TASKS_PER_NODE={text}")
        nodes = int(match[2] or 1)
        if len(counts) + nodes > MOST_RANKS:
            raise ValueError(f"SLURM_STEP_TASKS_PER_NODE={text}")
        counts += [int(match[1])] * nodes
    return counts


def first_host(nodes: str) -> str:
    """First host of a Slurm node list: `gpu[07-09,12],cpu1` gives gpu07. Raises UserError."""
    match = re.match(r"([^\[,]+)(?:\[(\w+)[^\]]*\]([^,\[]*))?", nodes)
    if match is None:
        raise UserError(
            f"SLURM_STEP_NODELIST={nodes} names no host. Set MASTER_ADDR to the address of rank 0."
        )
    return "".join(part or "" for part in match.groups())
