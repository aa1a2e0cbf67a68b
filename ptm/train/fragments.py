"""Which parts of which parameters a rank owns, in canonical names, whatever ZeRO stage holds them.

A fragment is a range of a flattened parameter: its fp32 weights and each per-element state of the
optimizer. Together the ranks' fragments cover everything once, so that a checkpoint of one layout
is read by any other. DeepSpeed keeps the fp32 truth in different places:

- stage 0, fp32: the parameters themselves; half precision: `fp32_groups`, a tensor a parameter;
- stages 1 and 2: one flat partition a group, `_hp_mapping` telling which range of which parameter;
- stage 3: one flat partition a group, in the order of the group's parameters, each padded.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ptm.model.checkpoint import WEIGHT

Values = Callable[[str, str, int, int], Tensor]
"""(name, kind, start, count) -> that range of that parameter, fp32."""


@dataclass(frozen=True)
class Owned:
    """A range of parameter `name` from `start`, held in `flat` from `at`, `count` elements."""

    name: str
    start: int
    flat: Tensor
    at: int
    count: int


class EngineState:
    """The fp32 weights and optimizer state of a DeepSpeed engine, by fragment."""

    def __init__(self, engine: Any, *, stage: int, rank: int, state_keys: tuple[str, ...]) -> None:
        self._engine = engine
        self._stage = stage
        self._rank = rank
        self._keys = state_keys
        module: nn.Module = engine.module
        self._named = dict(module.named_parameters())
        self._names = {id(parameter): name for name, parameter in self._named.items()}

    @property
    def kinds(self) -> tuple[str, ...]:
        """What is kept of each element."""
        return (WEIGHT, *self._keys)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every parameter, partitioned or not."""
        return {
            name: tuple(getattr(parameter, "ds_shape", parameter.shape))
            for name, parameter in self._named.items()
        }

    def owned(self) -> Iterator[Owned]:
        """This rank's fragments; the order is the same in every run of one layout."""
        if self._stage == 3:
            yield from self._owned_at_stage_3()
        elif self._stage in (1, 2):
            yield from self._owned_at_stage_1_2()
        elif self._rank == 0:
            yield from self._owned_at_stage_0()

    def _owned_at_stage_0(self) -> Iterator[Owned]:
        for name, _, master in self._masters():
            yield Owned(name, 0, master, 0, master.numel())

    def _masters(self) -> Iterator[tuple[str, nn.Parameter, Tensor]]:
        """Stage 0: (name, parameter, its fp32 truth)."""
        optimizer = self._engine.optimizer
        if not hasattr(optimizer, "fp32_groups"):
            for name, parameter in self._named.items():
                yield name, parameter, parameter
            return
        for working, masters in zip(optimizer.fp16_groups, optimizer.fp32_groups, strict=True):
            for parameter, master in zip(working, masters, strict=True):
                yield self._names[id(parameter)], parameter, master

    def _owned_at_stage_1_2(self) -> Iterator[Owned]:
        optimizer = self._engine.optimizer
        groups = getattr(optimizer, "bit16_groups", None) or optimizer.bf16_groups
        for group, parameters in zip(optimizer.param_groups, groups, strict=True):
            (flat,) = group["params"]
            for parameter in parameters:
                mapping = parameter._hp_mapping
                if mapping is not None:
                    here, there = mapping.hp_fragment_address, mapping.lp_fragment_address
                    name = self._names[id(parameter)]
                    yield Owned(name, there.start, flat, here.start, here.numel)

    def _owned_at_stage_3(self) -> Iterator[Owned]:
        optimizer = self._engine.optimizer
        for index, parameters in enumerate(optimizer.fp16_groups):
            flat, at = optimizer.fp32_partitioned_groups_flat[index], 0
            for parameter in parameters:
                size = parameter.ds_tensor.ds_numel
                start = self._rank * size
                count = max(0, min(size, parameter.ds_numel - start))
                if count:
                    yield Owned(self._names[id(parameter)], start, flat, at, count)
                at += size

    def _torch_optimizer(self) -> torch.optim.Optimizer:
        optimizer = self._engine.optimizer
        while hasattr(optimizer, "optimizer"):
            optimizer = optimizer.optimizer
        assert isinstance(optimizer, torch.optim.Optimizer)
        return optimizer

    def read(self, fragment: Owned, kind: str) -> Tensor:
        """The fp32 values of a fragment (count): a view where they lie, zeros before any update."""
        if kind == WEIGHT:
            source = fragment.flat.detach()
        else:
            state = self._torch_optimizer().state.get(fragment.flat, {})
            if kind not in state:
                return torch.zeros(fragment.count)
            source = state[kind]
        return source.reshape(-1)[fragment.at : fragment.at + fragment.count]

    def write(self, values: Values, *, names: Collection[str], updates: int) -> None:
        """Set what is owned of the parameters `names`, after `updates` steps.

        With no updates there is no optimizer state to set. The working copies that forward and
        backward use are set from the fp32 truth.
        """
        state = self._torch_optimizer().state
        with torch.no_grad():
            # At stage 0 every rank holds everything, though rank 0 alone saves it.
            for fragment in self.owned() if self._stage else self._owned_at_stage_0():
                if fragment.name not in names:
                    continue
                flat = fragment.flat
                if updates:
                    if not state.get(flat):
                        state[flat] = {key: torch.zeros_like(flat) for key in self._keys}
                    state[flat]["step"] = torch.tensor(float(updates), device=flat.device)
                for kind in self.kinds if updates else (WEIGHT,):
                    target = flat if kind == WEIGHT else state[flat][kind]
                    target.view(-1)[fragment.at : fragment.at + fragment.count].copy_(
                        values(fragment.name, kind, fragment.start, fragment.count)
                    )
            self._refresh_working_copies(values, names)

    def _refresh_working_copies(self, values: Values, names: Collection[str]) -> None:
        if self._stage == 0:
            for _, parameter, master in self._masters():
                if parameter is not master:
                    parameter.copy_(master)
            return
        for name, parameter in self._named.items():
            if name not in names:
                continue
            if self._stage == 3:
                partition: Any = parameter.ds_tensor  # type: ignore[attr-defined]
                start = self._rank * partition.ds_numel
                whole_size = parameter.ds_numel  # type: ignore[attr-defined]
                count = max(0, min(partition.ds_numel, whole_size - start))
                if count:
                    partition.data.view(-1)[:count].copy_(values(name, WEIGHT, start, count))
            else:
                whole = values(name, WEIGHT, 0, parameter.numel())
                parameter.copy_(whole.view_as(parameter))

    def forget_dummy_updates(self) -> None:
        """Undo the empty step by which DeepSpeed's unfused wrapper makes its optimizer's state.

        It would count as a first update in Adam's bias correction.
        """
        self._torch_optimizer().state.clear()
