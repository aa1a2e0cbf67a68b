"""A whole recipe for a model that says nothing about data and training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ptm.component import members
from ptm.components.objectives import Objective
from ptm.errors import UserError
from ptm.recipe import Recipe, recipe_from_data

# What a model says nothing about, so that its recipe can be read as a whole one.
_TO_COMPLETE: Mapping[str, Any] = {
    "name": "model",
    "data": {"corpus": "none", "store": "", "held_out": 0.01},
    "optimizer": {"type": "adamw", "learning_rate": 1e-4},
    "schedule": {"type": "linear", "warmup": 0.1},
    "train": {"steps": 1000, "global_batch_size": 32, "micro_batch_size": 32},
}


def completed_recipe(data: dict[str, Any], *, name: str, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of blocks that say nothing about data and training. Raises UserError."""
    if "data" not in data:
        data["data"] = {**_TO_COMPLETE["data"], "layout": _layout_of(data.get("objective"))}
    for key, value in _TO_COMPLETE.items():
        data.setdefault(key, dict(value) if isinstance(value, Mapping) else value)
    for key in ("tokenizer", "data", "model"):
        if not isinstance(data.get(key), dict):
            raise UserError(f"{name}: its recipe is damaged: it has no `{key}` block.")
    embedding = data["model"].get("embedding") or {}
    longest = embedding.get("positions", 512) - embedding.get("position_offset", 0)
    data["data"].setdefault("sequence_length", min(longest, 128))
    return recipe_from_data(data, name=name, overrides=overrides)


def _layout_of(objective: Any) -> str:
    """What an objective reads: documents, if it can."""
    found = members("ptm.components.objectives", Objective)  # type: ignore[type-abstract]
    named = objective.get("type") if isinstance(objective, dict) else None
    if named not in found:
        return "documents"
    reads = found[named]
    if reads.needs_sentences:
        return "sentences"
    return "documents" if "documents" in reads.layouts else reads.layouts[0]
