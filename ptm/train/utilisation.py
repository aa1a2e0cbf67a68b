"""Model FLOPs utilisation: the share of the devices' peak rate that the model's arithmetic uses.

`mfu` counts what the model needs (Chowdhery et al. 2022, "PaLM", appendix B; see
ptm/model/flops.py), `hfu` also what is computed twice: activations, and micro-batches with cached
gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ptm.engines.chips import device_peak_flops
from ptm.engines.ranks import Ranks
from ptm.model.example_sizes import ExampleSizes
from ptm.model.flops import FlopCounter
from ptm.plan import Plan
from ptm.recipe.blocks import EngineBlock


@dataclass(frozen=True)
class Flops:
    """Floating-point operations: `needed` by the model, and those `recomputed`."""

    needed: float = 0.0
    recomputed: float = 0.0

    def __add__(self, other: Flops) -> Flops:
        return Flops(self.needed + other.needed, self.recomputed + other.recomputed)


class StepFlops:
    """Counts the operations of this rank's batches, and relates them to the devices' peak."""

    def __init__(
        self, plan: Plan, engine: EngineBlock, ranks: Ranks, *, runs_twice: bool = False
    ) -> None:
        """`runs_twice`: whether the micro-batches of a step are run twice, if it has several."""
        self._runs_twice = runs_twice
        self._recomputes = engine.activation_checkpointing or runs_twice
        self._needed = FlopCounter(plan)
        self._blocks = FlopCounter(plan, blocks=True) if engine.activation_checkpointing else None
        peak = (
            device_peak_flops(ranks.device, engine.precision)
            if engine.peak_tflops is None
            else 1e12 * engine.peak_tflops
        )
        self._peak = None if peak is None else peak * ranks.world_size

    def of(self, sizes: Sequence[ExampleSizes]) -> Flops:
        """Operations of one step over micro-batches of these sizes."""
        again = 0.0 if self._blocks is None else self._blocks.forward(sizes)
        if self._runs_twice and len(sizes) > 1:
            again += self._needed.forward(sizes)
        return Flops(self._needed.training(sizes), again)

    def rates(self, flops: Flops, *, seconds: float) -> dict[str, float]:
        """`model_tflops` of the whole job; `mfu` if the peak is known, and `hfu` if it differs."""
        rates = {"model_tflops": round(flops.needed / seconds / 1e12, 6)}
        if self._peak is not None:
            rates["mfu"] = round(flops.needed / seconds / self._peak, 4)
            if self._recomputes:
                all_operations = flops.needed + flops.recomputed
                rates["hfu"] = round(all_operations / seconds / self._peak, 4)
        return rates
