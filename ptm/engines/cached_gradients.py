"""The outputs of a whole global batch, for losses that compare its examples with each other.

Gao et al. 2021, "Scaling deep contrastive learning batch size under memory limited setup".

Shapes: R ranks, A micro-batches per rank, M = R A micro-batches of the global batch, P positions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from ptm.components.objectives import Objective
from ptm.engines.ranks import Ranks

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class GatheredOutputs:
    """The outputs (M, P, …) of all micro-batches of all ranks, and their targets (M, P).

    The outputs are leaves of the graph, in fp32. `mine`: the micro-batches of this rank.
    """

    outputs: Tensors
    targets: Tensors
    mine: slice

    def gradients(self, loss: Tensor, ranks: Ranks) -> dict[str, Tensor]:
        """Return the gradients (A, P, …) of this rank's outputs. Collective.

        `loss`: this rank's summand of the loss, which depends on the outputs of all ranks.
        """
        names = list(self.outputs)
        found = torch.autograd.grad(loss, [self.outputs[name] for name in names])
        for gradient in found if ranks.world_size > 1 else ():
            dist.all_reduce(gradient)
        return {name: one[self.mine] for name, one in zip(names, found, strict=True)}


def gathered_outputs(
    outputs: Sequence[Tensors],
    tensors: Sequence[Tensors],
    objective: Objective,
    capacity: int,
    ranks: Ranks,
) -> GatheredOutputs:
    """Gather the `outputs` and targets of this rank's micro-batches from all ranks. Collective.

    `capacity`: the size P to which those of all ranks are padded.
    """
    own = len(outputs)
    every = {
        name: _gathered([one[name].detach().float() for one in outputs], capacity, ranks)
        for name in objective.outputs
    }
    return GatheredOutputs(
        {name: tensor.requires_grad_() for name, tensor in every.items()},
        {
            name: _gathered([one[name] for one in tensors], capacity, ranks)
            for name in objective.targets
        },
        slice(ranks.data_parallel_rank * own, (ranks.data_parallel_rank + 1) * own),
    )


def _gathered(parts: Sequence[Tensor], capacity: int, ranks: Ranks) -> Tensor:
    """The tensors (P, …) of this rank and of all others as one (M, capacity, …)."""
    padded = [F.pad(one, [0, 0] * (one.dim() - 1) + [0, capacity - len(one)]) for one in parts]
    mine = torch.stack(padded)
    if ranks.world_size == 1:
        return mine
    every = [torch.empty_like(mine) for _ in range(ranks.world_size)]
    dist.all_gather(every, mine)
    return torch.cat(every)


def sum_of_products(outputs: Tensors, gradients: Tensors) -> Tensor:
    """Return a sum whose gradient with respect to the `outputs` (P, …) is `gradients`, padded."""
    return torch.stack(
        [
            (outputs[name].float() * gradient[: len(outputs[name])]).sum()
            for name, gradient in gradients.items()
        ]
    ).sum()
