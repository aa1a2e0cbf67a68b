"""Ranks: the process group this process belongs to, alone or under a launcher."""

from __future__ import annotations

import ctypes
import logging
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d

from ptm.engines.deepspeed import join_deepspeed
from ptm.errors import AgreedError, UserError
from ptm.recipe.batch import launched_ranks

Backend = Literal["auto", "nccl", "gloo"]
T = TypeVar("T")

logger = logging.getLogger(__name__)

# Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_ONE_GIGABYTE = 2**30


@dataclass(frozen=True)
class Ranks:
    """This process among all.

    With pipeline stages, the ranks of one stage follow each other: rank = stage * data ranks +
    data rank. Ranks of one data rank see the same rows.
    """

    rank: int
    world: int
    device: torch.device
    stages: int = 1
    local_rank: int = 0

    def __str__(self) -> str:
        stages = f" in {self.stages} stages" if self.stages > 1 else ""
        ranks = "1 rank" if self.world == 1 else f"{self.world} ranks"
        return f"{ranks}{stages} on {'GPUs' if self.device.type == 'cuda' else 'CPUs'}"

    @property
    def first(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0

    @property
    def first_on_host(self) -> bool:
        """Whether this process does what is done once a host."""
        return self.local_rank == 0

    @property
    def data_ranks(self) -> int:
        """Ranks that share out the rows of a step."""
        return self.world // self.stages

    @property
    def data_rank(self) -> int:
        """Which share of the rows is this rank's."""
        return self.rank % self.data_ranks

    @property
    def stage(self) -> int:
        """The pipeline stage this rank runs."""
        return self.rank // self.data_ranks

    @property
    def reads_rows(self) -> bool:
        """Whether the rows are looked at here: at the inputs, at the targets."""
        return self.stage in (0, self.stages - 1)


def join_ranks(backend: Backend = "auto", *, stages: int = 1, timeout_minutes: float = 30) -> Ranks:
    """Join the launcher's process group, or make one of this process alone."""
    keep_large_blocks()
    cuda = torch.cuda.is_available()
    if backend == "gloo" and cuda:
        raise UserError(
            "engine.backend = gloo trains on CPUs, but torch sees GPUs: hide them "
            "(CUDA_VISIBLE_DEVICES= DS_ACCELERATOR=cpu) or set engine.backend: auto."
        )
    if backend == "nccl" and not cuda:
        raise UserError(
            "engine.backend = nccl, but torch sees no GPU here: set engine.backend: auto, which "
            "takes gloo on CPUs."
        )
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local_rank) if cuda else torch.device("cpu")
    if cuda:
        if local_rank >= torch.cuda.device_count():
            raise UserError(
                f"{socket.gethostname()}: {local_rank + 1} ranks or more were started, but there "
                f"are {torch.cuda.device_count()} GPUs: start as many ranks as GPUs "
                "(--num_gpus, slots in the hostfile)."
            )
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        # What ranks agree on goes over gloo, so that nobody waits for a GPU to hear it.
        _join("cpu:gloo,cuda:nccl" if cuda else "gloo", timedelta(minutes=timeout_minutes))
    join_deepspeed(cuda=cuda)
    return Ranks(dist.get_rank(), dist.get_world_size(), device, stages, local_rank)


def limit_waiting(*, timeout_minutes: float) -> None:
    """Let no call of any group wait longer.

    DeepSpeed makes groups of its own, which torch gives half an hour, whatever the first one has.
    """
    for group in list(distributed_c10d._world.pg_map):
        if isinstance(group, dist.ProcessGroup):
            distributed_c10d._set_pg_timeout(timedelta(minutes=timeout_minutes), group)


def record_flights(traces: Path) -> None:
    """Have torch keep the last calls of each rank to the others.

    Where one times out, torch itself writes NCCL's into files whose paths begin with `traces`;
    `flights` gives gloo's. What the user has set stays.
    """
    for name, value in {
        "TORCH_FR_BUFFER_SIZE": "2000",
        "TORCH_NCCL_DUMP_ON_TIMEOUT": "1",
        "TORCH_FR_DUMP_TEMP_FILE": str(traces),
    }.items():
        os.environ.setdefault(name, value)


def flights() -> bytes | None:
    """The last calls of this rank to others, as JSON; None where torch has not recorded any."""
    dump = getattr(torch._C._distributed_c10d, "_dump_fr_trace_json", None)
    if dump is None or not dist.is_initialized():
        return None
    found: bytes = dump()
    return found


def _join(backend: str, timeout: timedelta) -> None:
    # DeepSpeed insists on it, also where no launcher has set it.
    os.environ.setdefault("LOCAL_RANK", "0")
    if launched_ranks() > 1:
        dist.init_process_group(backend, timeout=timeout)
        return
    # No port, no rendezvous: nothing that another process on this machine could take.
    alone = dist.HashStore()  # type: ignore[attr-defined]
    dist.init_process_group(backend, store=alone, rank=0, world_size=1)


def gathered(values: Mapping[str, float], ranks: Ranks) -> list[dict[str, float]]:
    """`values`, of the same names on every rank, of every rank; a collective call on the CPU."""
    if ranks.world == 1:
        return [dict(values)]
    mine = torch.tensor(list(values.values()), dtype=torch.float64)
    every = torch.empty(ranks.world, mine.numel(), dtype=torch.float64)
    dist.all_gather(list(every.unbind()), mine)
    return [dict(zip(values, row, strict=True)) for row in every.tolist()]


def summed(values: Mapping[str, float], ranks: Ranks) -> dict[str, float]:
    """Each value added up over all ranks, in their order."""
    every = gathered(values, ranks)
    return {name: sum(row[name] for row in every) for name in values}


def objects_of_all(value: T, ranks: Ranks) -> Sequence[T]:
    """Small things of every rank; a collective call."""
    if ranks.world == 1:
        return [value]
    every: list[Any] = [None] * ranks.world
    dist.all_gather_object(every, value)
    return every


def agreed(ranks: Ranks, work: Callable[[], T]) -> T:
    """Do `work`; where it fails on one rank, fail on all, so that none waits for another.

    Raises the UserError or OSError of the first rank that failed, with its host where others did
    not fail alike: an AgreedError of several ranks.
    """
    return agreed_by(ranks, work, asked=True)  # type: ignore[return-value]


def agreed_by(ranks: Ranks, work: Callable[[], T], *, asked: bool) -> T | None:
    """As `agreed`, on the ranks that are `asked`; None on the others."""
    problem: UserError | OSError | None = None
    result: T | None = None
    try:
        result = work() if asked else None
    except (UserError, OSError) as error:
        problem = error
    if ranks.world == 1:
        if problem is not None:
            raise problem
        return result
    mine = None if problem is None else _told(problem)
    every = objects_of_all((asked, mine, socket.gethostname()), ranks)
    failed = [(rank, told, host) for rank, (_, told, host) in enumerate(every) if told is not None]
    if failed:
        rank, (number, text), host = failed[0]
        alike = len({told for _, told, _ in failed}) == 1
        if not alike or len(failed) < sum(was_asked for was_asked, _, _ in every):
            text = f"rank {rank} on {host}: {text}"
        raise AgreedError(text) if number is None else OSError(number, text)
    return result


def _told(problem: UserError | OSError) -> tuple[int | None, str]:
    """What other ranks need to raise it too: the number of an OSError, and the sentence."""
    if isinstance(problem, UserError):
        return None, str(problem)
    where = f"{problem.filename}: " if problem.filename else ""
    return problem.errno or 0, f"{where}{problem.strerror or problem}"


def of_first(ranks: Ranks, work: Callable[[], T]) -> T:
    """What `work` gives on the first rank, on all of them; its failure is everybody's."""
    mine = agreed_by(ranks, work, asked=ranks.first)
    return objects_of_all(mine, ranks)[0]  # type: ignore[return-value]


def barrier(ranks: Ranks) -> None:
    """Wait for every rank."""
    if ranks.world > 1:
        dist.barrier()


def leave_ranks() -> None:
    """End the process group, so that no thread of it outlives the training."""
    if dist.is_initialized():
        dist.destroy_process_group()


def keep_large_blocks() -> None:
    """On a CPU, let the same memory serve step after step.

    glibc maps every block above 32 MB anew and unmaps it when it is freed. The logits of a small
    model with a large vocabulary are such blocks: their page faults alone can take several times
    as long as the arithmetic. On another C library, or with a GPU, nothing is changed.
    """
    if torch.cuda.is_available() or not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _ONE_GIGABYTE)
        mallopt(_TRIM_THRESHOLD, 2 * _ONE_GIGABYTE - 1)
