"""Which parts of which parameters a rank owns, in canonical names, whatever ZeRO stage holds them.

A fragment is a range of a flattened parameter: its fp32 weights and each per-element state of the
optimizer. Together the ranks' fragments cover everything once, so that a checkpoint of one layout
is read by any other. A state by row or column goes with a parameter that is one fragment.
DeepSpeed keeps the fp32 truth in different places:

- stage 0, fp32: the parameters themselves; half precision: `fp32_groups`, a tensor a parameter;
- stages 1 and 2: one flat partition a group, `_hp_mapping` telling which range of which parameter;
- stage 3: one flat partition a group, in the order of the group's parameters, each padded;
- pipelines: as stage 1, each stage for its own parameters; a tied module is held by several.

Parameters that are frozen are in none of these: DeepSpeed knows their working copies alone, which
in half precision have lost digits. Each data rank keeps its share of their fp32 values beside it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from ptm.checkpoint.format import WEIGHT
from ptm.engines.deepspeed import gathered_to_write
from ptm.engines.ranks import Ranks
from ptm.model.initial_weights import FirstWeights
from ptm.plan import Plan

_SCALER = ("cur_scale", "cur_iter", "last_overflow_iter", "cur_hysteresis")

States = Callable[[tuple[int, ...]], Mapping[str, tuple[int, ...]]]
"""What an optimizer keeps of a tensor of a shape: name -> shape."""
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

    def __init__(
        self,
        engine: Any,
        *,
        plan: Plan,
        names: Mapping[str, str],
        stage: int,
        ranks: Ranks,
        optimizer_states: States,
    ) -> None:
        """`names`: the canonical name of every parameter of the engine's module by its own."""
        self._engine = engine
        self._stage = stage
        self._ranks = ranks
        self._states = optimizer_states
        self._plan = plan
        module: nn.Module = engine.module
        self._named = {names[own]: parameter for own, parameter in module.named_parameters()}
        self._names = {id(parameter): name for name, parameter in self._named.items()}
        self._frozen = {
            name: self._share_of(name, parameter)
            for name, parameter in self._named.items()
            if not parameter.requires_grad
        }

    def _share_of(self, name: str, parameter: Any) -> Owned:
        """This data rank's range of a frozen parameter, in host memory."""
        whole: int = getattr(parameter, "ds_numel", parameter.numel())
        size = -(-whole // self._ranks.data_ranks)
        start = min(self._ranks.data_rank * size, whole)
        count = min(size, whole - start)
        return Owned(name, start, torch.zeros(count), 0, count)

    def kinds_of(self, fragment: Owned) -> tuple[str, ...]:
        """What is kept of a fragment: of a frozen parameter, its weight alone."""
        if fragment.name in self._frozen:
            return (WEIGHT,)
        return (WEIGHT, *self._states(tuple(fragment.flat.shape)))

    def _extent(self, fragment: Owned, kind: str) -> tuple[int, int]:
        """From where on, and how many, values of `kind` belong to a fragment.

        Those of its elements; all there are where there is not one of each element, which only
        an optimizer has that is given parameters whole.
        """
        shape = tuple(fragment.flat.shape)
        size = prod(shape if kind == WEIGHT else self._states(shape)[kind])
        if size == fragment.flat.numel():
            return fragment.at, fragment.count
        assert fragment.count == fragment.flat.numel(), f"{fragment.name} is cut up"
        return 0, size

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every parameter of the model, wherever it is held."""
        return dict(self._plan.parameter_shapes)

    def owned(self) -> Iterator[Owned]:
        """This rank's fragments; the order is the same in every run of one layout."""
        learning = self._held() if self._stage > 0 or self._ranks.first else ()
        # One by one: what is on NVMe is in memory only until the next fragment is asked for.
        for fragment in chain(learning, self._frozen.values()):
            # A tied module counts on the first of the stages that hold it.
            if fragment.count and not getattr(
                self._named[fragment.name], "ds_pipe_replicated", False
            ):
                yield fragment

    def _held(self) -> Iterator[Owned]:
        """The fragments that this rank updates, others or not."""
        if self._stage == 3:
            yield from self._held_at_stage_3()
        elif self._stage in (1, 2):
            yield from self._held_at_stage_1_2()
        else:
            yield from self._held_at_stage_0()

    def _held_at_stage_0(self) -> Iterator[Owned]:
        for name, _, master in self._masters():
            yield Owned(name, 0, master, 0, master.numel())

    def _masters(self) -> Iterator[tuple[str, nn.Parameter, Tensor]]:
        """Stage 0: (name, parameter, its fp32 truth)."""
        optimizer = self._engine.optimizer
        if not hasattr(optimizer, "fp32_groups"):
            for name, parameter in self._named.items():
                if name not in self._frozen:
                    yield name, parameter, parameter
            return
        for working, masters in zip(optimizer.fp16_groups, optimizer.fp32_groups, strict=True):
            for parameter, master in zip(working, masters, strict=True):
                yield self._names[id(parameter)], parameter, master

    def _held_at_stage_1_2(self) -> Iterator[Owned]:
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

    def _held_at_stage_3(self, *, to_write: bool = False) -> Iterator[Owned]:
        optimizer = self._engine.optimizer
        for index, parameters in enumerate(optimizer.fp16_groups):
            with self._in_memory(index, to_write=to_write):
                flat, at = optimizer.fp32_partitioned_groups_flat[index], 0
                for parameter in parameters:
                    size = parameter.ds_tensor.ds_numel
                    start = self._ranks.data_rank * size
                    count = max(0, min(size, parameter.ds_numel - start))
                    if count:
                        yield Owned(self._names[id(parameter)], start, flat, at, count)
                    at += size

    @contextmanager
    def _in_memory(self, index: int, *, to_write: bool) -> Iterator[None]:
        """Stage 3: the fp32 truth of a group, read from NVMe where it is there, as a step does.

        After writing, the group's working copies are set from it, wherever they are.
        """
        optimizer = self._engine.optimizer
        swapped = optimizer._swappable_optimizer_subgroup(index)
        if swapped:
            optimizer._optimizer_states_and_gradient_swap_in(index)
        try:
            yield
            if to_write:
                optimizer._reassign_or_swap_out_partitioned_parameters(index)
        finally:
            if swapped and to_write:
                optimizer._optimizer_states_and_gradient_swap_out(index)
            elif swapped:
                optimizer._release_swap_buffers(index)

    def _torch_optimizer(self) -> torch.optim.Optimizer:
        optimizer = self._engine.optimizer
        while hasattr(optimizer, "optimizer"):
            optimizer = optimizer.optimizer
        assert isinstance(optimizer, torch.optim.Optimizer)
        return optimizer

    def read(self, fragment: Owned, kind: str) -> Tensor:
        """The fp32 values of a fragment: a view where they lie, zeros before any update."""
        at, count = self._extent(fragment, kind)
        if kind == WEIGHT:
            source = fragment.flat.detach()
        else:
            state = self._torch_optimizer().state.get(fragment.flat, {})
            if kind not in state:
                return torch.zeros(count)
            source = state[kind]
        return source.reshape(-1)[at : at + count]

    def begin(self, first: FirstWeights, learnt: Mapping[str, Tensor]) -> None:
        """Set every parameter to what was `learnt` elsewhere, else to its first value."""

        @lru_cache(maxsize=1)
        def whole(name: str) -> Tensor:
            return (learnt[name] if name in learnt else first[name]).reshape(-1)

        def values(name: str, kind: str, start: int, count: int) -> Tensor:
            return whole(name)[start : start + count]

        self.write(values, names=first.names, updates=0)

    def write(self, values: Values, *, names: Collection[str], updates: int) -> None:
        """Set what is held of the parameters `names`, after `updates` steps.

        With no updates there is no optimizer state to set. The working copies that forward and
        backward use are set from the fp32 truth.
        """
        self._write_frozen(values, names)
        if self._stage == 3:
            with torch.no_grad():
                for fragment in self._held_at_stage_3(to_write=True):
                    if fragment.name in names:
                        self._write_fragment(fragment, values, updates)
            return
        held: defaultdict[str, list[Owned]] = defaultdict(list)
        for fragment in self._held():
            held[fragment.name].append(fragment)
        with torch.no_grad():
            for name, parameter in self._named.items():
                if name in names and name not in self._frozen:
                    for fragment in held[name]:
                        self._write_fragment(fragment, values, updates)
                    self._write_working_copy(name, parameter, values)

    def _write_frozen(self, values: Values, names: Collection[str]) -> None:
        for name, share in self._frozen.items():
            if name not in names:
                continue
            share.flat.copy_(values(name, WEIGHT, share.start, share.count))
            parameter: Any = self._named[name]
            whole = gathered_to_write(parameter) if self._stage == 3 else nullcontext()
            with whole, torch.no_grad():
                self._write_working_copy(name, parameter, values)

    def _write_fragment(self, fragment: Owned, values: Values, updates: int) -> None:
        state, flat = self._torch_optimizer().state, fragment.flat
        if updates:
            if not state.get(flat):
                shapes = self._states(tuple(flat.shape))
                state[flat] = {kind: flat.new_zeros(shape) for kind, shape in shapes.items()}
            state[flat]["step"] = torch.tensor(float(updates), device=flat.device)
        for kind in self.kinds_of(fragment) if updates else (WEIGHT,):
            target = flat if kind == WEIGHT else state[flat][kind]
            at, count = self._extent(fragment, kind)
            target.view(-1)[at : at + count].copy_(
                values(fragment.name, kind, fragment.start, count)
            )

    def _write_working_copy(self, name: str, parameter: Any, values: Values) -> None:
        """Set what forward and backward use, which in half precision is not the fp32 truth."""
        whole = values(name, WEIGHT, 0, parameter.numel())
        parameter.copy_(whole.view_as(parameter))

    @property
    def loss_scale(self) -> float:
        """What fp16 losses are multiplied by; 1 in other precisions."""
        scaler = self._scaler()
        return 1.0 if scaler is None else float(scaler.cur_scale)

    @property
    def skipped_steps(self) -> int:
        """Steps of this engine in which gradients had overflowed."""
        return int(self._engine.skipped_steps)

    def scaler_state(self) -> dict[str, Any] | None:
        """Where the dynamic loss scale is; None where there is none."""
        scaler = self._scaler()
        if scaler is None:
            return None
        return {key: getattr(scaler, key) for key in _SCALER if hasattr(scaler, key)}

    def set_scaler(self, state: Mapping[str, Any] | None) -> None:
        """Go on with a loss scale that `scaler_state` gave."""
        scaler = self._scaler()
        if scaler is None or state is None:
            return
        for key, value in state.items():
            if hasattr(scaler, key):
                setattr(scaler, key, value)

    def _scaler(self) -> Any:
        """What keeps the dynamic loss scale: at stage 0 the optimizer's wrapper itself."""
        if not self._engine.fp16_enabled():
            return None
        optimizer = self._engine.optimizer
        found = getattr(optimizer, "loss_scaler", None) or optimizer
        return found if hasattr(found, "last_overflow_iter") else found.loss_scale_config

    def forget_dummy_updates(self) -> None:
        """Undo the empty step by which DeepSpeed's unfused wrapper makes its optimizer's state.

        It would count as a first update in Adam's bias correction.
        """
        self._torch_optimizer().state.clear()
