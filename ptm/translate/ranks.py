"""The ranks that command lines start: how many, on which hosts and GPUs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ptm.errors import UserError
from ptm.translate.options import Given

_LOCAL = ("localhost", "127.0.0.1")


@dataclass(frozen=True)
class Ranks:
    """Where a training runs."""

    hosts: Mapping[str, int]
    """Host to its ranks, that of rank 0 first; empty without a launcher."""
    world_size: int
    visible: str | None = None
    """The value of CUDA_VISIBLE_DEVICES, if it matters."""
    port: str | None = None

    @property
    def hostfile(self) -> str | None:
        """The text of a hostfile; None for one host."""
        if len(self.hosts) < 2:
            return None
        lines = "".join(f"{host} slots={slots}\n" for host, slots in self.hosts.items())
        return f"# Replace node-... by the names of your hosts. Rank 0 is on the first.\n{lines}"

    def launch_command(self, recipe: str, hostfile: str) -> list[str]:
        """The words of the command that trains, without the environment."""
        if len(self.hosts) >= 2:
            port = ["--master-port", self.port] if self.port else []
            return ["ptm", "launch", "--hostfile", hostfile, *port, recipe]
        if self.world_size > 1:
            return ["ptm", "launch", "--num-gpus", str(self.world_size), recipe]
        return ["ptm", "train", recipe]


def uer_ranks(lines: Sequence[Given]) -> Ranks:
    """The ranks of pretrain.py lines that belong to one training, one per host.

    Raises UserError if the lines start more ranks than `--world_size`, or name different ones.
    """
    first = lines[0]
    launched = first.command.launched_ranks
    world = first.values.get("world_size", launched if launched is not None else 1)
    if world < 1:
        raise UserError(
            f"{first.command.place}: {first.written['world_size']} is not a positive number."
        )
    for line in lines[1:]:
        other = line.values.get("world_size", world)
        if other != world:
            raise UserError(
                f"the hosts have different numbers of ranks in all: --world_size {world} and "
                f"{other}. Give all lines the same."
            )
    per_host = [len(line.get("gpu_ranks")) for line in lines]
    started = sum(per_host)
    if started > world:
        raise UserError(
            f"--gpu_ranks names {started} ranks, but --world_size is {world}. Make them agree."
        )
    address, port = _address(first)
    visible = first.command.environment.get("CUDA_VISIBLE_DEVICES")
    if world == 1:
        chosen = first.get("gpu_ranks")
        if visible is None and chosen and chosen != [0]:
            visible = str(chosen[0])
        return Ranks({}, 1, visible)
    if len(lines) == 1 and (not started or started == world):
        hosts = first.command.launched_hosts
        if hosts == 1:
            return Ranks({}, world, visible)
        per_host = [world // hosts] * hosts
    missing = world - sum(per_host)
    if missing and per_host[0]:
        rows = -(-missing // per_host[0])
        per_host += [min(per_host[0], missing - row * per_host[0]) for row in range(rows)]
    names = [address if address not in _LOCAL else "node-0"]
    names += [f"node-{number}" for number in range(1, len(per_host))]
    return Ranks(dict(zip(names, per_host, strict=True)), world, visible, port)


def _address(line: Given) -> tuple[str, str | None]:
    """Host and port of `--master_ip tcp://HOST:PORT`. Raises UserError for another form."""
    master = line.get("master_ip")
    host, _, port = master.removeprefix("tcp://").rpartition(":")
    if not host or not port.isdecimal():
        raise UserError(f'{line.command.place}: --master_ip "{master}" is not tcp://HOST:PORT.')
    return host, port
