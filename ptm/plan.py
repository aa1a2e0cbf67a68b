"""A model is a straight-line program over named tensors.

A `Plan` is the only definition of a model. The plain executor runs its operations (`Operation`) in
a loop inside one module. A pipeline executor turns each operation into a layer that passes on a
tuple of exactly the tensors that are still live. A floating-point tensor that is passed on must
receive a gradient downstream; all others are integer tensors. So a pipeline stage can begin between
any two operations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Operation:
    """An operation: one call of one module, which reads and writes named tensors.

    Operations with the same `tie` share one module, built by the first of them, and differ only in
    `options`. The canonical names of parameters begin with `tie` if given, else with `name`.
    """

    name: str
    build: Callable[[], nn.Module]
    """Builds the module, on the current default device."""
    reads: tuple[str, ...]
    """Names of the tensors passed to the module, in order."""
    writes: tuple[str, ...]
    """Names of the tensors that the module returns, in order."""
    tie: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    """Fixed keyword arguments of the call."""
    block: bool = False
    """Whether this is one of the repeated blocks, which hold most of a model's activations."""

    @property
    def key(self) -> str:
        """The prefix of the canonical names of this operation's parameters."""
        return self.tie or self.name

    def renamed(self, names: Mapping[str, str]) -> Operation:
        """A copy that reads and writes other tensors.

        `names` maps old names to new ones; all other names stay.
        """
        return replace(
            self,
            reads=tuple(names.get(name, name) for name in self.reads),
            writes=tuple(names.get(name, name) for name in self.writes),
        )


@dataclass(frozen=True)
class Plan:
    """A whole model: operations in order, and the names of the tensors it returns."""

    operations: tuple[Operation, ...]
    outputs: tuple[str, ...]

    @cached_property
    def parameter_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of every parameter by canonical name, found on the meta device and cached."""
        import torch

        modules: dict[str, nn.Module] = {}
        with torch.device("meta"):
            for step in self.operations:
                if step.key not in modules:
                    modules[step.key] = step.build()
        return {
            f"{key}.{name}": tuple(parameter.shape)
            for key, module in modules.items()
            for name, parameter in module.named_parameters()
        }

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the tensors that a batch must provide: read before any operation writes."""
        written: set[str] = set()
        needed: list[str] = []
        for step in self.operations:
            needed += [name for name in step.reads if name not in written and name not in needed]
            written.update(step.writes)
        missing = [name for name in self.outputs if name not in written]
        assert not missing, f"no operation writes the outputs {missing}"
        return tuple(needed)

    def only(self, *outputs: str) -> Plan:
        """The plan with these outputs and only the operations that they depend on."""
        needed, kept = set(outputs), []
        for step in reversed(self.operations):
            if needed.intersection(step.writes):
                needed = (needed - set(step.writes)) | set(step.reads)
                kept.append(step)
        return Plan(operations=tuple(reversed(kept)), outputs=outputs)

    def after(self, name: str) -> Plan:
        """The plan of the operations after the last one that writes `name`."""
        last = max(index for index, step in enumerate(self.operations) if name in step.writes)
        return Plan(operations=self.operations[last + 1 :], outputs=self.outputs)

    def live(self) -> tuple[tuple[str, ...], ...]:
        """Liveness: entry i has the names that operation i or a later one reads, in a fixed order.

        The last entry is the outputs. A name is dropped right after its last reader.
        """
        order = list(self.inputs)
        for step in self.operations:
            order += [name for name in step.writes if name not in order]
        needed = set(self.outputs)
        alive = [self.outputs]
        for step in reversed(self.operations):
            needed = (needed - set(step.writes)) | set(step.reads)
            alive.append(tuple(name for name in order if name in needed))
        return tuple(reversed(alive))
