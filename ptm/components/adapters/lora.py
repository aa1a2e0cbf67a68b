"""LoRA (Hu et al. 2021, arXiv:2106.09685): low-rank updates beside frozen matrices."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ptm.component import Listed, PositiveFloat
from ptm.components.adapters.base import Adapter, LowRankUpdate
from ptm.errors import UserError, nearest
from ptm.limits import MOST_WIDTH
from ptm.plan import Operation, Plan

if TYPE_CHECKING:
    from torch import nn


class Lora(Adapter):
    """A matrix W of a layer computes (W + scale B A) x, of which only A (r, K) and B (N, r) are
    trained, besides a head that does not predict tokens. The keys are those of peft's
    `LoraConfig`."""

    type: Literal["lora"]
    r: Annotated[int, Field(gt=0, le=MOST_WIDTH)] = 8
    """The rank of the updates."""
    lora_alpha: PositiveFloat = 8.0
    """The scale of the updates is `lora_alpha / r`."""
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout of the inputs of A. The updates of one packed matrix (query, key and value) share its
    mask."""
    target_modules: Annotated[tuple[str, ...], Listed, Field(min_length=1)] = ("query", "value")
    """The matrices of the layers that are updated: `query`, `key`, `value`, `output` (of
    attention), `gate`, `up`, `down` (of feed-forward), or patterns of whole names
    (`encoder_0[0-5].attention.*`)."""
    use_rslora: bool = False
    """Scale by `lora_alpha / sqrt(r)` (Kalajdzievski 2023, arXiv:2312.03732)."""

    @property
    def scale(self) -> float:
        """The factor of B A."""
        return self.lora_alpha / (math.sqrt(self.r) if self.use_rslora else self.r)

    def adapted(self, plan: Plan) -> Plan:
        names = {
            f"{step.key}.{name}": shape
            for step, module in _layers(plan)
            for name, shape in _parts(module)
        }
        if not names:
            raise UserError(
                "adapter: the layers of this model have no matrices that LoRA can update. Use a "
                "transformer, or remove adapter."
            )
        for index, pattern in enumerate(self.target_modules):
            if not any(_matches(pattern, name) for name in names):
                known = names if "." in pattern else {name.rpartition(".")[2] for name in names}
                raise UserError(
                    f'adapter.target_modules.{index}: "{pattern}" matches no matrix of this '
                    f"model's layers.{nearest(pattern, known)}"
                )
        for name, (outputs, inputs) in names.items():
            chosen = any(_matches(pattern, name) for pattern in self.target_modules)
            if chosen and self.r > min(outputs, inputs):
                raise UserError(
                    f"adapter.r: {self.r} is larger than the smaller side of {name} ({outputs:,} x "
                    f"{inputs:,}), whose rank it would not lower. Set {min(outputs, inputs)} or "
                    "less."
                )
        return replace(
            plan,
            operations=tuple(
                replace(step, build=partial(self._build, step.key, step.build))
                if step.block
                else step
                for step in plan.operations
            ),
        )

    def updates(self, adapted: Plan) -> Mapping[str, tuple[LowRankUpdate, ...]]:
        from ptm.nn.lora import LoraLinear

        found: dict[str, tuple[LowRankUpdate, ...]] = {}
        for step, module in _layers(adapted):
            for path, part in module.named_modules():
                if isinstance(part, LoraLinear):
                    name = f"{step.key}.{path}"
                    found[f"{name}.weight"] = tuple(
                        LowRankUpdate(
                            part=one,
                            start=start,
                            count=count,
                            a=f"{name}.lora.{one}_A",
                            b=f"{name}.lora.{one}_B",
                            scale=self.scale,
                        )
                        for one, (start, count) in part.lora.ranges.items()
                    )
        return found

    def _build(self, key: str, build: Callable[[], nn.Module]) -> nn.Module:
        from ptm.nn.lora import add_lora

        return add_lora(
            build(),
            lambda name: any(_matches(one, f"{key}.{name}") for one in self.target_modules),
            rank=self.r,
            scale=self.scale,
            dropout=self.lora_dropout,
        )


def _matches(pattern: str, name: str) -> bool:
    """Whether a pattern is the last part of the name of a matrix, or matches the whole name."""
    return pattern == name.rpartition(".")[2] or fnmatchcase(name, pattern)


def _layers(plan: Plan) -> Iterator[tuple[Operation, nn.Module]]:
    """The repeated blocks with their modules, without memory; shared ones once."""
    import torch

    seen = set()
    for step in plan.operations:
        if step.block and step.key not in seen:
            seen.add(step.key)
            with torch.device("meta"):
                yield step, step.build()


def _parts(module: nn.Module) -> Iterator[tuple[str, tuple[int, int]]]:
    """The name of each matrix of a layer, or of each part of one, and its outputs and inputs."""
    from ptm.nn.lora import linear_parts

    for name, parts in linear_parts(module):
        inputs = module.get_parameter(f"{name}.weight").shape[1]
        for part, outputs in parts.items():
            yield f"{name.rpartition('.')[0]}.{part}".lstrip("."), (outputs, inputs)
