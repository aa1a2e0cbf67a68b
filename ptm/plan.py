"""A model is a straight-line program over named tensors.

A `Plan` is the one definition of a model. The plain executor runs its steps in a loop inside one
module; a pipeline executor makes each step a layer whose tuple is exactly the names still alive.
Floating tensors that cross a step must receive a gradient downstream; whatever else crosses is an
integer tensor, so that any cut between two steps is a possible stage boundary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Step:
    """One call of one module: reads named tensors, writes named tensors.

    Steps with the same `tie` share one module (built by the first of them) and differ only in
    `options`, the fixed keyword arguments of their call. Parameters are named `tie or name`.
    """

    name: str
    build: Callable[[], nn.Module]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    tie: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    block: bool = False
    """Whether it is one of the repeated blocks that hold most of a model's activations."""

    @property
    def key(self) -> str:
        """The canonical prefix of this step's parameters."""
        return self.tie or self.name

    def renamed(self, names: Mapping[str, str]) -> Step:
        """The same step on other tensors: those that `names` has get the name it gives them."""
        return replace(
            self,
            reads=tuple(names.get(name, name) for name in self.reads),
            writes=tuple(names.get(name, name) for name in self.writes),
        )


@dataclass(frozen=True)
class Plan:
    """Steps in order, and the names the objective reads at the end."""

    steps: tuple[Step, ...]
    outputs: tuple[str, ...]

    @cached_property
    def parameter_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of every parameter by canonical name; found once, without their memory."""
        import torch

        modules: dict[str, nn.Module] = {}
        with torch.device("meta"):
            for step in self.steps:
                if step.key not in modules:
                    modules[step.key] = step.build()
        return {
            f"{key}.{name}": tuple(parameter.shape)
            for key, module in modules.items()
            for name, parameter in module.named_parameters()
        }

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names that steps read and nothing has written: what a batch must bring, in order."""
        written: set[str] = set()
        needed: list[str] = []
        for step in self.steps:
            needed += [name for name in step.reads if name not in written and name not in needed]
            written.update(step.writes)
        missing = [name for name in self.outputs if name not in written]
        assert not missing, f"no step writes the outputs {missing}"
        return tuple(needed)

    def only(self, *outputs: str) -> Plan:
        """The plan of the steps that these outputs need."""
        needed, kept = set(outputs), []
        for step in reversed(self.steps):
            if needed.intersection(step.writes):
                needed = (needed - set(step.writes)) | set(step.reads)
                kept.append(step)
        return Plan(steps=tuple(reversed(kept)), outputs=outputs)

    def after(self, name: str) -> Plan:
        """The plan of the steps that come after the last that writes `name`."""
        last = max(index for index, step in enumerate(self.steps) if name in step.writes)
        return Plan(steps=self.steps[last + 1 :], outputs=self.outputs)

    def live(self) -> tuple[tuple[str, ...], ...]:
        """`live()[i]`: the names that step i or a later one still reads, in a fixed order.

        The last entry is the outputs. A name is dropped right after its last reader.
        """
        order = list(self.inputs)
        for step in self.steps:
            order += [name for name in step.writes if name not in order]
        needed = set(self.outputs)
        alive = [self.outputs]
        for step in reversed(self.steps):
            needed = (needed - set(step.writes)) | set(step.reads)
            alive.append(tuple(name for name in order if name in needed))
        return tuple(reversed(alive))
