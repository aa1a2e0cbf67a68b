"""This rank's fragments of weights and optimizer state by canonical name, for every ZeRO stage.

A fragment is a range of a flattened parameter: its fp32 weights and each per-element state of the
optimizer. The fragments of all ranks cover every parameter exactly once, so a checkpoint written
in one layout can be read in any other. Optimizer states per row or column need parameters that
are one fragment. DeepSpeed stores the fp32 master weights in different places:

- stage 0, fp32: the parameters themselves; half precision: `fp32_groups`, one tensor per parameter;
- stages 1 and 2: one flat partition per group; `_hp_mapping` maps ranges of it to parameters;
- stage 3: one flat partition per group, in the order of the group's parameters, each padded;
- pipelines: as stage 1 within each stage; a tied module is on several stages.

Frozen parameters are in none of these: DeepSpeed has only their working copies, which are rounded
in half precision. Each data rank therefore stores its range of their fp32 values itself.
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

from ptm.checkpoint.manifest import WEIGHT
from ptm.engines.deepspeed import gather_for_writing
from ptm.engines.ranks import Ranks
from ptm.model.initial_weights import InitialWeights
from ptm.plan import Plan

_SCALER = ("cur_scale", "cur_iter", "last_overflow_iter", "cur_hysteresis")

States = Callable[[str, tuple[int, ...]], Mapping[str, tuple[int, ...]]]
"""(parameter, its shape) -> the optimizer's states of it: state name -> shape."""
Values = Callable[[str, str, int, int], Tensor]
"""(parameter, state name or WEIGHT, start, count) -> that range of it, flat, fp32."""


@dataclass(frozen=True)
class LocalFragment:
    """`count` elements of parameter `name` from `start`, stored in `flat` from `at`."""

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
        """`names`: name of each parameter of the engine's module -> its canonical name."""
        self._engine = engine
        self._stage = stage
        self._ranks = ranks
        self._states = optimizer_states
        self._plan = plan
        module: nn.Module = engine.module
        # Without the placeholders of pipeline stages.
        self._named = {
            names[own]: parameter for own, parameter in module.named_parameters() if own in names
        }
        self._names = {id(parameter): name for name, parameter in self._named.items()}
        self._frozen = {
            name: self._frozen_fragment(name, parameter)
            for name, parameter in self._named.items()
            if not parameter.requires_grad
        }

    def _frozen_fragment(self, name: str, parameter: Any) -> LocalFragment:
        """This data rank's range of a frozen parameter, in host memory, filled by `write`."""
        whole: int = getattr(parameter, "ds_numel", parameter.numel())
        size = -(-whole // self._ranks.data_parallel_size)
        start = min(self._ranks.data_parallel_rank * size, whole)
        count = min(size, whole - start)
        return LocalFragment(name, start, torch.zeros(count), 0, count)

    def state_names(self, fragment: LocalFragment) -> tuple[str, ...]:
        """The names of a fragment's saved tensors: WEIGHT and, unless frozen, optimizer states."""
        if fragment.name in self._frozen:
            return (WEIGHT,)
        return (WEIGHT, *self._states(fragment.name, tuple(fragment.flat.shape)))

    def _value_range(self, fragment: LocalFragment, kind: str) -> tuple[int, int]:
        """Start and number of the values of `kind` that belong to a fragment.

        One value per element of the fragment. States per row or column belong to it as a whole;
        optimizers that have those need whole parameters.
        """
        shape = tuple(fragment.flat.shape)
        size = prod(shape if kind == WEIGHT else self._states(fragment.name, shape)[kind])
        if size == fragment.flat.numel():
            return fragment.at, fragment.count
        assert fragment.count == fragment.flat.numel(), f"{fragment.name} is partitioned"
        return 0, size

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter of the whole model by canonical name, on any rank or stage."""
        return dict(self._plan.parameter_shapes)

    def local_fragments(self) -> Iterator[LocalFragment]:
        """Yield the fragments that this rank saves, in the same order in every run of a layout.

        Use each fragment before taking the next: values on NVMe are in memory only until then.
        """
        trained = self._updated_fragments() if self._stage > 0 or self._ranks.is_main else ()
        for fragment in chain(trained, self._frozen.values()):
            # A tied module is saved by the first of its stages only.
            if fragment.count and not getattr(
                self._named[fragment.name], "ds_pipe_replicated", False
            ):
                yield fragment

    def _updated_fragments(self) -> Iterator[LocalFragment]:
        """Yield the fragments that this rank updates, also those that another rank saves."""
        if self._stage == 3:
            yield from self._fragments_stage_3()
        elif self._stage in (1, 2):
            yield from self._fragments_stage_1_2()
        else:
            yield from self._fragments_stage_0()

    def _fragments_stage_0(self) -> Iterator[LocalFragment]:
        for name, _, master in self._masters():
            yield LocalFragment(name, 0, master, 0, master.numel())

    def _masters(self) -> Iterator[tuple[str, nn.Parameter, Tensor]]:
        """Stage 0: yield (canonical name, parameter, its fp32 master weights)."""
        optimizer = self._engine.optimizer
        if not hasattr(optimizer, "fp32_groups"):
            for name, parameter in self._named.items():
                if name not in self._frozen:
                    yield name, parameter, parameter
            return
        for working, masters in zip(optimizer.fp16_groups, optimizer.fp32_groups, strict=True):
            for parameter, master in zip(working, masters, strict=True):
                yield self._names[id(parameter)], parameter, master

    def _fragments_stage_1_2(self) -> Iterator[LocalFragment]:
        optimizer = self._engine.optimizer
        groups = getattr(optimizer, "bit16_groups", None) or optimizer.bf16_groups
        for group, parameters in zip(optimizer.param_groups, groups, strict=True):
            (flat,) = group["params"]
            for parameter in parameters:
                mapping = parameter._hp_mapping
                if mapping is not None and id(parameter) in self._names:
                    master_range, parameter_range = (
                        mapping.hp_fragment_address,
                        mapping.lp_fragment_address,
                    )
                    name = self._names[id(parameter)]
                    yield LocalFragment(
                        name, parameter_range.start, flat, master_range.start, master_range.numel
                    )

    def _fragments_stage_3(self, *, to_write: bool = False) -> Iterator[LocalFragment]:
        optimizer = self._engine.optimizer
        for index, parameters in enumerate(optimizer.fp16_groups):
            with self._in_memory(index, to_write=to_write):
                flat, at = optimizer.fp32_partitioned_groups_flat[index], 0
                for parameter in parameters:
                    size = parameter.ds_tensor.ds_numel
                    start = self._ranks.data_parallel_rank * size
                    count = max(0, min(size, parameter.ds_numel - start))
                    if count:
                        yield LocalFragment(self._names[id(parameter)], start, flat, at, count)
                    at += size

    @contextmanager
    def _in_memory(self, index: int, *, to_write: bool) -> Iterator[None]:
        """Stage 3: context with the fp32 master weights of group `index` in memory.

        Swaps them in from NVMe, as a step does. With `to_write`, sets the group's working copies
        from them at the end.
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

    def read(self, fragment: LocalFragment, kind: str) -> Tensor:
        """Return a fragment's fp32 values of `kind` as a flat view; zeros before any update."""
        at, count = self._value_range(fragment, kind)
        if kind == WEIGHT:
            source = fragment.flat.detach()
        else:
            state = self._torch_optimizer().state.get(fragment.flat, {})
            if kind not in state:
                return torch.zeros(count)
            source = state[kind]
        return source.reshape(-1)[at : at + count]

    def initialise(self, initial: InitialWeights, loaded: Mapping[str, Tensor]) -> None:
        """Set every parameter to its tensor in `loaded` (a warm start), or to its initial value."""

        @lru_cache(maxsize=1)
        def whole(name: str) -> Tensor:
            return (loaded[name] if name in loaded else initial[name]).reshape(-1)

        def values(name: str, kind: str, start: int, count: int) -> Tensor:
            return whole(name)[start : start + count]

        self.write(values, names=initial.names, updates=0)

    def write(self, values: Values, *, names: Collection[str], updates: int) -> None:
        """Set this rank's fragments of the parameters `names` from `values`.

        `updates`: steps that the optimizer has made; 0 leaves it without state. The working copies
        that forward and backward use are set as well.
        """
        self._write_frozen(values, names)
        if self._stage == 3:
            with torch.no_grad():
                for fragment in self._fragments_stage_3(to_write=True):
                    if fragment.name in names:
                        self._write_fragment(fragment, values, updates)
            return
        held: defaultdict[str, list[LocalFragment]] = defaultdict(list)
        for fragment in self._updated_fragments():
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
            whole = gather_for_writing(parameter) if self._stage == 3 else nullcontext()
            with whole, torch.no_grad():
                self._write_working_copy(name, parameter, values)

    def _write_fragment(self, fragment: LocalFragment, values: Values, updates: int) -> None:
        state, flat = self._torch_optimizer().state, fragment.flat
        if updates:
            if not state.get(flat):
                shapes = self._states(fragment.name, tuple(flat.shape))
                state[flat] = {kind: flat.new_zeros(shape) for kind, shape in shapes.items()}
            state[flat]["step"] = torch.tensor(float(updates), device=flat.device)
        for kind in self.state_names(fragment) if updates else (WEIGHT,):
            target = flat if kind == WEIGHT else state[flat][kind]
            at, count = self._value_range(fragment, kind)
            target.view(-1)[at : at + count].copy_(
                values(fragment.name, kind, fragment.start, count)
            )

    def _write_working_copy(self, name: str, parameter: Any, values: Values) -> None:
        """Set the tensor that forward and backward use: in half precision, a rounded copy."""
        whole = values(name, WEIGHT, 0, parameter.numel())
        parameter.copy_(whole.view_as(parameter))

    @property
    def loss_scale(self) -> float:
        """The loss scale of fp16; 1 in other precisions."""
        scaler = self._scaler()
        return 1.0 if scaler is None else float(scaler.cur_scale)

    @property
    def skipped_steps(self) -> int:
        """Number of steps that DeepSpeed skipped because gradients were not finite."""
        return int(self._engine.skipped_steps)

    def scaler_state(self) -> dict[str, Any] | None:
        """Return the state of the dynamic loss scale; None unless the precision is fp16."""
        scaler = self._scaler()
        if scaler is None:
            return None
        return {key: getattr(scaler, key) for key in _SCALER if hasattr(scaler, key)}

    def set_scaler(self, state: Mapping[str, Any] | None) -> None:
        """Restore the state of the dynamic loss scale from `scaler_state`; None is ignored."""
        scaler = self._scaler()
        if scaler is None or state is None:
            return
        for key, value in state.items():
            if hasattr(scaler, key):
                setattr(scaler, key, value)

    def _scaler(self) -> Any:
        """The object that holds the dynamic loss scale: at stage 0, the optimizer wrapper."""
        if not self._engine.fp16_enabled():
            return None
        optimizer = self._engine.optimizer
        found = getattr(optimizer, "loss_scaler", None) or optimizer
        return found if hasattr(found, "last_overflow_iter") else found.loss_scale_config

    def forget_dummy_updates(self) -> None:
        """Clear the optimizer state that DeepSpeed's unfused wrapper creates by a dummy step.

        Adam's bias correction would count it as the first update.
        """
        self._torch_optimizer().state.clear()
