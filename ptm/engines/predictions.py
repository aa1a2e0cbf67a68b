"""Per-example predictions of an evaluation: collected on each rank, gathered by example.

Shapes: R rows collected on a rank, E examples of the evaluation set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from ptm.components.objectives import Objective
from ptm.components.objectives.base import EXAMPLE_NUMBERS
from ptm.components.objectives.scores.diagnosis import Diagnosis
from ptm.engines.ranks import Ranks, all_gather_objects, broadcast_from_rank0

Predictions = Mapping[str, NDArray[Any]]
Compute = Callable[[Predictions], Mapping[str, float | None]]
OnDiagnosis = Callable[[Diagnosis], None]
Reduce = Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], Mapping[str, Tensor]]
"""Outputs and targets of a micro-batch -> the small tensors that are kept of them."""


class PredictionCollector:
    """The predictions of one rank; nothing if the objective needs none.

    They stay on the device until `arrays` is read, so that no micro-batch waits for it.
    """

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._parts: list[dict[str, Tensor]] = []

    def add(self, outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
        """Add the predictions for one micro-batch. Rows of padding are dropped."""
        if not _needs_predictions(self._objective):
            return
        found = self._objective.predictions(outputs, tensors)
        self._parts.append({name: tensor.detach() for name, tensor in found.items()})

    @property
    def arrays(self) -> Predictions:
        """All predictions so far (R, …), in the order in which they were added."""
        names = self._parts[0] if self._parts else ()
        every = {name: as_array(torch.cat([part[name] for part in self._parts])) for name in names}
        real = every[EXAMPLE_NUMBERS] > 0 if every else np.empty(0, np.bool_)
        return {name: array[real] for name, array in every.items()}


def as_array(tensor: Tensor) -> NDArray[Any]:
    """The values of a tensor on the host."""
    # numpy has no bfloat16, and half precision is of no use on the CPU.
    tensor = tensor.detach()
    tensor = tensor.float() if tensor.is_floating_point() else tensor
    array: NDArray[Any] = tensor.cpu().numpy()
    return array


def _needs_predictions(objective: Objective) -> bool:
    return bool(objective.scores) or objective.compares_batch


@dataclass(frozen=True)
class SetFigures:
    """What is computed from the predictions for a whole evaluation set.

    `sums`: the sum of each metric, if those over micro-batches do not add up; else empty.
    """

    scores: Mapping[str, float | None] = field(default_factory=dict)
    sums: Mapping[str, float] = field(default_factory=dict)


def figures_of(
    predictions: Predictions,
    objective: Objective,
    *,
    expected: int,
    compute: Compute | None = None,
    on_diagnosis: OnDiagnosis | None = None,
) -> SetFigures:
    """Return the figures over all predictions for a set, each counted once.

    `predictions`: in any order. A row of the set that was evaluated twice has equal predictions,
    of which the first ones count. `expected`: their number (`Objective.predictions_expected`).
    `compute`: by default `Objective.compute_scores`. `on_diagnosis` is called with the objective's
    diagnosis, if it has one.
    """
    if not _needs_predictions(objective):
        return SetFigures()
    numbers, first = np.unique(predictions[EXAMPLE_NUMBERS], return_index=True)
    assert len(numbers) == expected, f"{len(numbers)} of {expected} predictions were made"
    ordered = {name: array[first] for name, array in predictions.items()}
    diagnosis = objective.diagnosis(ordered) if on_diagnosis is not None else None
    if on_diagnosis is not None and diagnosis is not None:
        on_diagnosis(diagnosis)
    found = (compute or objective.compute_scores)(ordered) if objective.scores else {}
    return SetFigures(
        {score.name: found[score.name] for score in objective.scores},
        objective.set_sums(ordered) if objective.compares_batch else {},
    )


def gathered_figures(
    mine: Predictions,
    objective: Objective,
    ranks: Ranks,
    *,
    expected: int,
    compute: Compute | None = None,
    on_diagnosis: OnDiagnosis | None = None,
) -> SetFigures:
    """Return the figures over the predictions of all ranks, computed on rank 0. Collective.

    `compute`, `on_diagnosis`: as of `figures_of`.
    """
    if not _needs_predictions(objective):
        return SetFigures()
    every = gather_on_rank0(mine, ranks)

    def figures() -> SetFigures:
        return figures_of(
            every, objective, expected=expected, compute=compute, on_diagnosis=on_diagnosis
        )

    return broadcast_from_rank0(ranks, figures)


def gather_on_rank0(mine: Predictions, ranks: Ranks) -> Predictions:
    """Return the predictions of all ranks on rank 0, and an empty mapping elsewhere. Collective.

    A rank may have none. Arrays are sent as bytes, padded to the longest.
    """
    if ranks.world_size == 1:
        return mine
    described = all_gather_objects(
        {name: (array.dtype.str, array.shape) for name, array in mine.items()}, ranks
    )
    known = {name: one for each in described for name, one in each.items()}
    gathered = {}
    for name, (dtype, shape) in known.items():
        row_bytes = np.dtype(dtype).itemsize * int(np.prod(shape[1:]))
        rows = [each[name][1][0] if name in each else 0 for each in described]
        own = mine.get(name, np.empty((0, *shape[1:]), dtype))
        sent = torch.zeros(max(rows) * row_bytes, dtype=torch.uint8)
        data = np.frombuffer(np.ascontiguousarray(own).tobytes(), np.uint8)
        sent[: data.size] = torch.from_numpy(data.copy())
        received = [torch.empty_like(sent) for _ in rows] if ranks.is_main else None
        dist.gather(sent, received, dst=0)
        if received is not None:
            parts = (
                part.numpy()[: count * row_bytes].view(dtype).reshape(count, *shape[1:])
                for part, count in zip(received, rows, strict=True)
            )
            gathered[name] = np.concatenate(list(parts))
    return gathered
