"""A LoRA adapter as a folder that `peft.PeftModel.from_pretrained(base, folder)` loads.

A matrix of transformers may hold several parts of ours (GPT-2's `c_attn`), or a part of ours
(BERT's `query`). So that no family needs a second table of names, the converter of the weights is
given numbered rows: where they arrive says which update belongs to which rows of which matrix.

r rank of a part, R of a matrix with several parts; K inputs, N outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ptm.components.adapters.base import LowRankUpdate
from ptm.components.adapters.lora import Lora

Convert = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
"""Tensors of the whole model by canonical names -> by transformers' names."""
Updates = Mapping[str, tuple[LowRankUpdate, ...]]
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
"""Of the names of all tensors in peft."""
_TOLERANCE = 1e-5


@dataclass(frozen=True)
class PeftMatrix:
    """The update of one matrix of transformers: A (R, K), B (N, R).

    `transposed`: whether transformers holds the matrix as (K, N), as its Conv1D does.
    """

    a: Tensor
    b: Tensor
    transposed: bool


def peft_matrices(
    tensors: Mapping[str, Tensor], updates: Updates, convert: Convert
) -> dict[str, PeftMatrix]:
    """The update of each matrix by the name of its module in transformers.

    `tensors`: every tensor of the adapted model by canonical name, with the adapter's.
    """
    model = _without_adapter(tensors, updates)
    rows = [(weight, row) for weight in updates for row in range(len(model[weight]))]
    first = {weight: number for number, (weight, row) in enumerate(rows, start=1) if row == 0}
    numbered = {
        weight: torch.arange(first[weight], first[weight] + len(model[weight]))
        .to(torch.float64)[:, None]
        .expand(model[weight].shape)
        for weight in updates
    }
    deltas = convert(_zeros(model) | {name: _delta(name, tensors, updates) for name in updates})
    found = {}
    for name, numbers in convert(_zeros(model) | numbered).items():
        if numbers.dim() != 2 or not numbers.any():
            continue
        transposed = not bool((numbers[:, 0] == numbers[:, -1]).all())
        column = (numbers[0] if transposed else numbers[:, 0]).long().tolist()
        pieces = list(_pieces([rows[number - 1] for number in column], updates))
        if not pieces:
            continue
        a = torch.cat([tensors[update.a] for update, _ in pieces])
        b = torch.zeros(len(column), len(a))
        rank = 0
        for update, places in pieces:
            values = tensors[update.b]
            here, there = zip(*places, strict=True)
            b[list(here), rank : rank + values.shape[1]] = values[list(there)]
            rank += values.shape[1]
        whole = pieces[0][0].scale * (b @ a)
        delta = deltas[name].t() if transposed else deltas[name]
        assert torch.allclose(whole, delta.float(), atol=_TOLERANCE), f"{name} is not of one A"
        found[name.removesuffix(".weight")] = PeftMatrix(a, b, transposed)
    return found


def _pieces(
    rows: list[tuple[str, int]], updates: Updates
) -> Iterator[tuple[LowRankUpdate, list[tuple[int, int]]]]:
    """The updates of a matrix whose rows are `rows` (weight, row of it) of ours.

    Yields each update with pairs of a row of the matrix and the row of B that belongs to it.
    """
    for weight in dict.fromkeys(weight for weight, _ in rows):
        for update in updates[weight]:
            places = [
                (here, row - update.start)
                for here, (other, row) in enumerate(rows)
                if other == weight and update.start <= row < update.start + update.count
            ]
            if places:
                yield update, places


def trained_tensors(
    tensors: Mapping[str, Tensor], head: Collection[str], updates: Updates, convert: Convert
) -> dict[str, Tensor]:
    """The tensors of transformers that hold the parameters `head`, which are trained whole."""
    model = _without_adapter(tensors, updates)
    marked = {name: torch.ones(model[name].shape) for name in head}
    marks = convert(_zeros(model) | marked)
    return {name: value for name, value in convert(model).items() if bool(marks[name].any())}


def peft_config(
    adapter: Lora, matrices: Mapping[str, PeftMatrix], saved: Collection[str], *, base: str
) -> dict[str, Any]:
    """The content of adapter_config.json. `saved`: modules that are trained whole."""
    ranks = {name: len(matrix.a) for name, matrix in matrices.items() if len(matrix.a) != adapter.r}
    return {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": base,
        "inference_mode": True,
        "r": adapter.r,
        "lora_alpha": adapter.lora_alpha,
        "lora_dropout": adapter.lora_dropout,
        "use_rslora": adapter.use_rslora,
        "bias": "none",
        "fan_in_fan_out": any(matrix.transposed for matrix in matrices.values()),
        "target_modules": sorted(matrices),
        "modules_to_save": sorted(saved) or None,
        # A matrix that holds several parts has the sum of their ranks, at the scale of each.
        "rank_pattern": ranks,
        "alpha_pattern": {
            name: adapter.scale * (math.sqrt(rank) if adapter.use_rslora else rank)
            for name, rank in ranks.items()
        },
    }


def peft_tensors(
    matrices: Mapping[str, PeftMatrix], trained: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The content of adapter_model.safetensors."""
    found = {f"{_PREFIX}{name}": tensor for name, tensor in trained.items()}
    for name, matrix in matrices.items():
        found[f"{_PREFIX}{name}.lora_A.weight"] = matrix.a
        found[f"{_PREFIX}{name}.lora_B.weight"] = matrix.b
    return found


def modules_of(names: Collection[str]) -> set[str]:
    """The modules that hold the tensors `names`, without those inside another one of them."""
    modules = {name.rpartition(".")[0] for name in names}
    return {name for name in modules if not any(name.startswith(f"{other}.") for other in modules)}


def _without_adapter(tensors: Mapping[str, Tensor], updates: Updates) -> dict[str, Tensor]:
    own = {name for some in updates.values() for one in some for name in (one.a, one.b)}
    return {name: tensor for name, tensor in tensors.items() if name not in own}


def _zeros(model: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Zeros of all shapes, which take no memory."""
    return {name: torch.zeros(()).expand(tensor.shape) for name, tensor in model.items()}


def _delta(weight: str, tensors: Mapping[str, Tensor], updates: Updates) -> Tensor:
    delta = torch.zeros(tensors[weight].shape)
    for update in updates[weight]:
        rows = slice(update.start, update.start + update.count)
        delta[rows] = update.delta(tensors[update.a], tensors[update.b])
    return delta
