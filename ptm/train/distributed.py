"""Ranks: the process group this process belongs to, alone or under a launcher."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass

import deepspeed
import deepspeed.ops
import deepspeed.utils
import torch
import torch.distributed as dist

from ptm.nn.allocator import keep_large_blocks
from ptm.recipe.batch import launched_ranks


@dataclass(frozen=True)
class Ranks:
    """This process among all."""

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0


def join_ranks() -> Ranks:
    """Join the launcher's process group, or make one of this process alone."""
    cuda = torch.cuda.is_available()
    keep_large_blocks()
    deepspeed.utils.logger.setLevel(logging.WARNING)
    backend = "nccl" if cuda else "gloo"
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local_rank) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    # DeepSpeed insists on it, also where no launcher has set it.
    os.environ.setdefault("LOCAL_RANK", "0")
    if launched_ranks() == 1 and not dist.is_initialized():
        # No port, no rendezvous: nothing that another process on this machine could take.
        alone = dist.HashStore()  # type: ignore[attr-defined]
        dist.init_process_group(backend, store=alone, rank=0, world_size=1)
    if not cuda:
        # An op that DeepSpeed would compile for half a minute, to be faster than gloo.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(dist_backend=backend, verbose=False)
    return Ranks(dist.get_rank(), dist.get_world_size(), device)


def summed(values: dict[str, float], ranks: Ranks) -> dict[str, float]:
    """Each value added up over all ranks."""
    if ranks.world == 1 or not values:
        return values
    total = torch.tensor(list(values.values()), dtype=torch.float64, device=ranks.device)
    dist.all_reduce(total)
    return dict(zip(values, total.tolist(), strict=True))


def barrier(ranks: Ranks) -> None:
    """Wait for every rank."""
    if ranks.world > 1:
        dist.barrier()


def leave_ranks() -> None:
    """End the process group, so that no thread of it outlives the training."""
    if dist.is_initialized():
        dist.destroy_process_group()
