"""Several torch optimizers as one, for Muon: torch's updates matrices only."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch


class JoinedOptimizers(torch.optim.Optimizer):
    """Torch optimizers of different parameters, with common parameter groups and states."""

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        super().__init__([group for part in parts for group in part.param_groups], {})
        # The same dicts as those of the parts: DeepSpeed replaces the parameters of a group by
        # their fp32 master weights, which the parts must then update.
        self.param_groups = [group for part in parts for group in part.param_groups]
        self._parts = tuple(parts)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient. `closure` must be None."""
        assert closure is None, "closures are not supported"
        for part in self._parts:
            part.state = self.state
            part.step()
