"""What differs between runs: their recipes, and their metrics at the same steps."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptm.errors import UserError
from ptm.recipe.saved_files import RECIPE, read_metrics, read_recipe_data

_ALWAYS_DIFFERENT = ("name", "runs_dir")
_TRAIN = "train"


@dataclass(frozen=True)
class Difference:
    """A key of the recipe that has several values. A value is None where the key is not set."""

    key: str
    values: tuple[str | None, ...]
    """One per run, as JSON."""


@dataclass(frozen=True)
class Series:
    """A metric of one split, by step, for each run."""

    split: str
    metric: str
    values: tuple[Mapping[int, float], ...]

    def at(self, steps: Sequence[int]) -> list[tuple[int, tuple[float | None, ...]]]:
        """The value of each run at each of the steps."""
        return [(step, tuple(run.get(step) for run in self.values)) for step in steps]


@dataclass(frozen=True)
class Comparison:
    """Two or more runs side by side."""

    runs: tuple[Path, ...]
    differences: tuple[Difference, ...]
    series: tuple[Series, ...]
    """The loss of each split, then the further metrics of the evaluation sets."""

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one.split for one in self.series))


def compare(runs: Sequence[Path], *, damage: list[str] | None = None) -> Comparison:
    """Compare runs by their files. Raises UserError if one of them is not a run, or damaged.

    `damage`: as in `read_metrics`.
    """
    if len({run.resolve() for run in runs}) < 2:
        raise UserError("compare: give at least two different runs.")
    recipes = [_flat(_recipe_of(run)) for run in runs]
    keys = sorted(set().union(*recipes))
    differences = [
        Difference(key, values)
        for key in keys
        if len(set(values := tuple(recipe.get(key) for recipe in recipes))) > 1
        and key not in _ALWAYS_DIFFERENT
    ]
    records = [read_metrics(run, damage=damage) for run in runs]
    return Comparison(tuple(runs), tuple(differences), _series(records))


def common_steps(series: Series, *, most: int) -> list[int]:
    """At most `most` steps at which all runs have a value, spread evenly, the last one included.

    Without common steps, those of any run.
    """
    sets = [set(values) for values in series.values]
    shared = sorted(set.intersection(*sets) or set.union(*sets))
    if len(shared) <= most:
        return shared
    return [shared[round(i * (len(shared) - 1) / (most - 1))] for i in range(most)]


def _recipe_of(run: Path) -> dict[str, Any]:
    if not (run / RECIPE).exists():
        raise UserError(f'"{run}" is not a run: it has no {RECIPE}.')
    return read_recipe_data(run / RECIPE)


def _flat(data: Any, at: str = "") -> dict[str, str]:
    """Dotted keys, and values as JSON. Empty blocks are left out."""
    if isinstance(data, dict):
        found: dict[str, str] = {}
        for key, value in data.items():
            found |= _flat(value, f"{at}.{key}" if at else str(key))
        return found
    return {} if data is None else {at: json.dumps(data, ensure_ascii=False)}


def _series(records: Sequence[Sequence[Mapping[str, Any]]]) -> tuple[Series, ...]:
    """The losses of all splits, and the other metrics of evaluations."""
    names = dict.fromkeys(
        (record["split"], key)
        for run in records
        for record in run
        for key, value in record.items()
        if _is_metric(record["split"], key) and isinstance(value, int | float)
    )
    ordered = sorted(names, key=lambda name: (name[1] != "loss", name[0] != _TRAIN))
    return tuple(
        Series(split, metric, tuple(_values(run, split, metric) for run in records))
        for split, metric in ordered
    )


_COUNTS = {"step", "split", "epoch", "rows", "examples", "tokens"}


def _is_metric(split: str, key: str) -> bool:
    return key in ("loss", "tokens_per_second") if split == _TRAIN else key not in _COUNTS


def _values(records: Sequence[Mapping[str, Any]], split: str, metric: str) -> dict[int, float]:
    return {
        record["step"]: float(record[metric])
        for record in records
        if record["split"] == split and isinstance(record.get(metric), int | float)
    }
