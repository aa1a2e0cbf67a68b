"""The process group of this process, and collectives over it."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d

from ptm.allocator import keep_large_allocations
from ptm.engines.deepspeed import init_deepspeed
from ptm.errors import SharedError, UserError
from ptm.rank_environment import launched_ranks, local_rank

Backend = Literal["auto", "nccl", "gloo"]
T = TypeVar("T")

logger = logging.getLogger(__name__)

_NO_ADDRESS = re.compile(
    "unable to find (address|interface)|cannot assign requested address|network is unreachable|"
    "name or service not known|no address associated|name resolution",
    re.IGNORECASE,
)
"""Found in the error of gloo or the store if a host name or a device has no address."""


@dataclass(frozen=True)
class Ranks:
    """This process's rank, device and place in the process group.

    With pipeline stages, the ranks of a stage are consecutive: rank = stage * data_parallel_size +
    data_parallel_rank. Ranks with the same data rank load the same rows.
    """

    rank: int
    world_size: int
    device: torch.device
    pipeline_stages: int = 1
    local_rank: int = 0

    def __str__(self) -> str:
        stages = f" in {self.pipeline_stages} stages" if self.pipeline_stages > 1 else ""
        ranks = "1 rank" if self.world_size == 1 else f"{self.world_size} ranks"
        return f"{ranks}{stages} on {'GPUs' if self.device.type == 'cuda' else 'CPUs'}"

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which writes the run's shared files."""
        return self.rank == 0

    @property
    def is_local_main(self) -> bool:
        """Whether this is the first rank of its host, which does the work done once per host."""
        return self.local_rank == 0

    @property
    def data_parallel_size(self) -> int:
        """The data-parallel size: number of ranks per pipeline stage."""
        return self.world_size // self.pipeline_stages

    @property
    def data_parallel_rank(self) -> int:
        """This rank's index within its stage, which selects its rows."""
        return self.rank % self.data_parallel_size

    @property
    def pipeline_stage(self) -> int:
        """The index of this rank's pipeline stage."""
        return self.rank // self.data_parallel_size

    @property
    def loads_data(self) -> bool:
        """Whether this rank loads rows: the first stage needs inputs, the last one targets."""
        return self.pipeline_stage in (0, self.pipeline_stages - 1)


def init_process_group(
    backend: Backend = "auto", *, stages: int = 1, timeout_minutes: float = 30
) -> Ranks:
    """Initialise the process group: the launcher's, or one of this process alone.

    Raises UserError if `backend` does not fit the devices or a rank has no GPU.
    """
    keep_large_allocations()
    cuda = torch.cuda.is_available()
    if backend == "gloo" and cuda:
        raise UserError(
            "engine.backend = gloo trains on CPUs, but torch finds GPUs. Hide the GPUs "
            "(CUDA_VISIBLE_DEVICES= DS_ACCELERATOR=cpu) or set engine.backend: auto."
        )
    if backend == "nccl" and not cuda:
        raise UserError(
            "engine.backend = nccl needs GPUs, but torch finds none. Set engine.backend: auto, "
            "which uses gloo on CPUs."
        )
    index = local_rank()
    device = torch.device("cuda", index) if cuda else torch.device("cpu")
    if cuda:
        if index >= torch.cuda.device_count():
            raise UserError(
                f"{socket.gethostname()}: ranks started on this host: at least {index + 1}; "
                f"GPUs: {torch.cuda.device_count()}. Start at most one rank per GPU (--num-gpus, "
                "or slots in the hostfile)."
            )
        torch.cuda.set_device(device)
        _configure_cuda()
    if not dist.is_initialized():
        # Small collectives on the CPU use gloo, so that they never wait for a GPU.
        _init_process_group(
            "cpu:gloo,cuda:nccl" if cuda else "gloo", timedelta(minutes=timeout_minutes)
        )
    init_deepspeed(cuda=cuda)
    return Ranks(dist.get_rank(), dist.get_world_size(), device, stages, index)


def _configure_cuda() -> None:
    """Choose the fast kernels of torch that are accurate enough for training."""
    # TF32 in products of fp32 matrices: 8 times the rate, with 10 bits of mantissa in the factors
    # and sums in fp32. Does not concern bf16 and fp16.
    torch.set_float32_matmul_precision("high")
    # cuDNN's attention with a mask has NaN in its backward pass for some lengths
    # (https://github.com/pytorch/pytorch/issues/196678), and every packed row has a mask.
    torch.backends.cuda.enable_cudnn_sdp(False)


def set_timeout(*, timeout_minutes: float) -> None:
    """Set the timeout of collectives in all process groups.

    DeepSpeed creates groups of its own with torch's default of half an hour.
    """
    for group in list(distributed_c10d._world.pg_map):
        if isinstance(group, dist.ProcessGroup):
            distributed_c10d._set_pg_timeout(timedelta(minutes=timeout_minutes), group)


def enable_flight_recorder(traces: Path) -> None:
    """Enable torch's flight recorder, which keeps each rank's last 2,000 collective calls.

    When a call times out, torch writes the NCCL calls to files whose paths start with `traces`;
    `dump_flight_recorder` returns the gloo calls. Does not override environment variables that are
    set.
    """
    for name, value in {
        "TORCH_FR_BUFFER_SIZE": "2000",
        "TORCH_NCCL_DUMP_ON_TIMEOUT": "1",
        "TORCH_FR_DUMP_TEMP_FILE": str(traces),
    }.items():
        os.environ.setdefault(name, value)


def dump_flight_recorder() -> bytes | None:
    """Return this rank's last collective calls as JSON; None if torch has not recorded any."""
    dump = getattr(torch._C._distributed_c10d, "_dump_fr_trace_json", None)
    if dump is None or not dist.is_initialized():
        return None
    found: bytes = dump()
    return found


def _init_process_group(backend: str, timeout: timedelta) -> None:
    # DeepSpeed requires it even without a launcher.
    os.environ.setdefault("LOCAL_RANK", "0")
    try:
        if launched_ranks() > 1:
            dist.init_process_group(backend, timeout=timeout)
            return
        # In-process store: needs no port, which another process on this machine could have taken.
        alone = dist.HashStore()  # type: ignore[attr-defined]
        dist.init_process_group(backend, store=alone, rank=0, world_size=1)
    except RuntimeError as error:
        raise _explained(error) from error


def _explained(error: RuntimeError) -> Exception:
    """A UserError for a port or an address that this host cannot use, or else `error`."""
    what = str(error).splitlines()[0]
    if "EADDRINUSE" in str(error) or "address already in use" in str(error).lower():
        return UserError(
            f"MASTER_PORT={os.environ['MASTER_PORT']}: another program on {socket.gethostname()} "
            "uses this port. Set another one (`ptm launch` chooses a free one by itself)."
        )
    if _NO_ADDRESS.search(what):
        return UserError(
            f"{socket.gethostname()}: this host has no network address that ranks can use "
            f"({what}). Bring up the loopback device (`ip link set lo up`), or set "
            "GLOO_SOCKET_IFNAME to the name of a device that has an address."
        )
    return error


def all_gather(values: Mapping[str, float], ranks: Ranks) -> list[dict[str, float]]:
    """All-gather `values` (the same names on every rank); one dict per rank. On the CPU."""
    if ranks.world_size == 1:
        return [dict(values)]
    mine = torch.tensor(list(values.values()), dtype=torch.float64)
    every = torch.empty(ranks.world_size, mine.numel(), dtype=torch.float64)
    dist.all_gather(list(every.unbind()), mine)
    return [dict(zip(values, row, strict=True)) for row in every.tolist()]


def all_reduce_sum(values: Mapping[str, float], ranks: Ranks) -> dict[str, float]:
    """Return each value summed over all ranks, in rank order. Collective, on the CPU."""
    every = all_gather(values, ranks)
    return {name: sum(row[name] for row in every) for name in values}


def all_gather_objects(value: T, ranks: Ranks) -> Sequence[T]:
    """All-gather small picklable objects; one entry per rank. Collective."""
    if ranks.world_size == 1:
        return [value]
    every: list[Any] = [None] * ranks.world_size
    dist.all_gather_object(every, value)
    return every


def run_on_all_ranks(ranks: Ranks, work: Callable[[], T]) -> T:
    """Run `work` on every rank and return its result; if it fails on any rank, raise on all.

    Collective. All ranks raise the same error, that of the lowest rank that failed: an OSError, or
    a UserError as SharedError. The message names rank and host unless all ranks failed alike.
    """
    return run_on_ranks(ranks, work, takes_part=True)  # type: ignore[return-value]


def run_on_ranks(ranks: Ranks, work: Callable[[], T], *, takes_part: bool) -> T | None:
    """Like `run_on_all_ranks`, but run `work` only on ranks with `takes_part`; return None on the
    others."""
    problem: UserError | OSError | None = None
    result: T | None = None
    try:
        result = work() if takes_part else None
    except (UserError, OSError) as error:
        problem = error
    if ranks.world_size == 1:
        if problem is not None:
            raise problem
        return result
    mine = None if problem is None else _portable_error(problem)
    every = all_gather_objects((takes_part, mine, socket.gethostname()), ranks)
    failed = [
        (rank, failure, host)
        for rank, (_, failure, host) in enumerate(every)
        if failure is not None
    ]
    if failed:
        rank, (number, lines), host = failed[0]
        alike = len({failure for _, failure, _ in failed}) == 1
        if not alike or len(failed) < sum(ran for ran, _, _ in every):
            lines = tuple(f"rank {rank} on {host}: {line}" for line in lines)
        raise SharedError(*lines) if number is None else OSError(number, *lines)
    return result


def _portable_error(error: UserError | OSError) -> tuple[int | None, tuple[str, ...]]:
    """Return `error` in picklable form: errno (None for a UserError) and messages."""
    if isinstance(error, UserError):
        return None, tuple(map(str, error.args))
    where = f"{error.filename}: " if error.filename else ""
    return error.errno or 0, (f"{where}{error.strerror or error}",)


def broadcast_from_rank0(ranks: Ranks, work: Callable[[], T]) -> T:
    """Run `work` on rank 0 and return its result on all ranks; if it fails, raise on all."""
    mine = run_on_ranks(ranks, work, takes_part=ranks.is_main)
    return all_gather_objects(mine, ranks)[0]  # type: ignore[return-value]


def barrier(ranks: Ranks) -> None:
    """Wait for every rank."""
    if ranks.world_size > 1:
        dist.barrier()


def destroy_process_group() -> None:
    """Destroy the process group, so that its threads end with the training."""
    if dist.is_initialized():
        dist.destroy_process_group()
