"""Where a model comes from: a run, an export, or what `ptm import` wrote. All give the same."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from ptm.component import members
from ptm.errors import UserError
from ptm.interop.hf.folder import HuggingFaceFolder, read_weights
from ptm.interop.hub import hub_folder, looks_like_hub_id
from ptm.model.checkpoint import (
    BEST,
    Checkpoint,
    DamagedCheckpointError,
    checkpoint_folders,
    newest_checkpoint,
    step_of,
)
from ptm.objectives import Objective
from ptm.recipe import Recipe, recipe_from_data
from ptm.text.tokenizers.files import block_with_copies

TOKENIZER = "tokenizer"
"""The folder of a run (or an import) that holds copies of the tokenizer's files."""
WEIGHTS, RECIPE = "weights.safetensors", "recipe.yaml"

# What a model says nothing about, so that its recipe can be read as a whole one.
_TO_COMPLETE: Mapping[str, Any] = {
    "name": "model",
    "data": {"corpus": "none", "layout": "documents", "store": "", "held_out": 0.01},
    "optimizer": {"type": "adamw", "learning_rate": 1e-4},
    "schedule": {"type": "linear", "warmup": 0.1},
    "train": {"steps": 1000, "global_batch_size": 32, "micro_batch_size": 32},
}


class Source(ABC):
    """A model with its recipe and its tokenizer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def recipe_data(self) -> dict[str, Any]:
        """The recipe's blocks as far as the source knows them, paths as they can be read now."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Every weight by canonical name, fp32."""

    @abstractmethod
    def description(self) -> str:
        """What it is, in a few words."""

    def figures(self) -> dict[str, str]:
        """What was measured, for the model card."""
        return {}

    def recipe(self, overrides: Sequence[str] = ()) -> Recipe:
        """The whole recipe. Raises UserError where it does not fit this version."""
        return completed_recipe(self.recipe_data(), name=str(self.folder), overrides=overrides)


def completed_recipe(data: dict[str, Any], *, name: str, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of blocks that say nothing about data and training. Raises UserError."""
    if "data" not in data and _is_about_sentences(data.get("objective")):
        data["data"] = {**_TO_COMPLETE["data"], "layout": "sentences"}
    for key, value in _TO_COMPLETE.items():
        data.setdefault(key, dict(value) if isinstance(value, Mapping) else value)
    for key in ("tokenizer", "data", "model"):
        if not isinstance(data.get(key), dict):
            raise UserError(f"{name}: its recipe is damaged: it has no `{key}` block.")
    embedding = data["model"].get("embedding") or {}
    longest = embedding.get("positions", 512) - embedding.get("position_offset", 0)
    data["data"].setdefault("sequence_length", min(longest, 128))
    return recipe_from_data(data, name=name, overrides=overrides)


def _is_about_sentences(objective: Any) -> bool:
    found = members("ptm.objectives", Objective)  # type: ignore[type-abstract]
    named = objective.get("type") if isinstance(objective, dict) else None
    return named in found and found[named].needs_sentences


def open_source(path: str, *, step: int | str | None = None, average: int | None = None) -> Source:
    """The model at `path`, or of that id on the hub; of a run, at one step or averaged.

    Raises UserError where there is none.
    """
    folder = Path(path)
    if not folder.is_dir() and looks_like_hub_id(path):
        folder = hub_folder(path)
    if not folder.is_dir():
        raise UserError(
            f'"{path}" is not a folder. A model is a run (runs/NAME), an export, what '
            "`ptm import` wrote, or the id of a model on the hub."
        )
    if (folder / "checkpoints").is_dir():
        if average is not None:
            return AveragedSource(folder, step=step, count=average)
        return RunSource(folder, step=step)
    if average is not None:
        raise UserError(f"{folder}: --average is for runs; this is none.")
    if step is not None:
        raise UserError(f"{folder}: --step is for runs; this is none.")
    if (folder / WEIGHTS).exists() and (folder / RECIPE).exists():
        return ImportedSource(folder)
    if (folder / "config.json").exists():
        return HuggingFaceSource(HuggingFaceFolder(folder))
    raise UserError(
        f"{folder}: holds no model: neither checkpoints/ (a run), nor config.json (an export), "
        f"nor {WEIGHTS} (an import)."
    )


class RunSource(Source):
    """A run: its newest whole checkpoint, or that of one step."""

    def __init__(self, folder: Path, *, step: int | str | None) -> None:
        super().__init__(folder)
        self._checkpoint = _checkpoint(folder / "checkpoints", step)

    def recipe_data(self) -> dict[str, Any]:
        """As the run resolved it, the tokenizer's files from the run's own copies."""
        return _with_own_tokenizer(read_recipe_data(self.folder / RECIPE), self.folder / TOKENIZER)

    def tensors(self) -> dict[str, Tensor]:
        """Put together from the fragments."""
        return {name: self._checkpoint.weights(name) for name in self._checkpoint.shapes}

    def description(self) -> str:
        """The step."""
        return f"step {self._checkpoint.step}"

    def figures(self) -> dict[str, str]:
        """The last evaluation up to the checkpoint's step."""
        before = [r for r in read_metrics(self.folder) if r["step"] <= self._checkpoint.step]
        found = {"steps": str(self._checkpoint.step)}
        for record in reversed(before):
            if record["split"] == "eval":
                shown = ("loss", "perplexity", *(k for k in record if k.endswith("accuracy")))
                found["tokens seen"] = f"{record['tokens']:,}"
                found.update({f"held-out {key}": f"{record[key]:.4f}" for key in shown})
                break
        return found


class AveragedSource(RunSource):
    """The mean of a run's last checkpoints, up to one step (Izmailov et al. 2018)."""

    def __init__(self, folder: Path, *, step: int | str | None, count: int) -> None:
        super().__init__(folder, step=step)
        if count < 1:
            raise UserError(f"--average = {count}: must be at least 1.")
        last = self._checkpoint.step
        paths = checkpoint_folders(folder / "checkpoints")
        there = [step_of(path) for path in paths if step_of(path) <= last]
        if count > len(there):
            raise UserError(
                f"{folder}: --average = {count}, but it has {len(there)} checkpoints up to step "
                f"{last} ({', '.join(map(str, reversed(there)))}); checkpoint.keep in its recipe "
                "says how many stay."
            )
        earlier = [_checkpoint(folder / "checkpoints", step) for step in there[1:count]]
        self._checkpoints = (self._checkpoint, *earlier)

    def tensors(self) -> dict[str, Tensor]:
        """One tensor after another: never more than one model and one tensor in memory."""
        return {name: self._mean(name) for name in self._checkpoint.shapes}

    def _mean(self, name: str) -> Tensor:
        total = self._checkpoint.weights(name).double()
        for checkpoint in self._checkpoints[1:]:
            total += checkpoint.weights(name)
        return (total / len(self._checkpoints)).float()

    def description(self) -> str:
        """The steps."""
        steps = ", ".join(str(checkpoint.step) for checkpoint in reversed(self._checkpoints))
        return f"mean of the steps {steps}"

    def figures(self) -> dict[str, str]:
        """What was measured is of one checkpoint and not of their mean."""
        return {"steps": str(self._checkpoint.step)}


def _checkpoint(folder: Path, step: int | str | None) -> Checkpoint:
    if step is None:
        checkpoint = newest_checkpoint(folder)
        if checkpoint is None:
            raise UserError(f"{folder.parent}: the run has no checkpoint yet.")
        return checkpoint
    if step == BEST:
        try:
            name = (folder / BEST).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise UserError(
                f"{folder.parent}: has no best checkpoint; checkpoint.best in its recipe would "
                "have kept one."
            ) from error
        step = name.removeprefix("global_step")
    path = folder / f"global_step{step}"
    if not path.is_dir():
        there = ", ".join(p.name.removeprefix("global_step") for p in checkpoint_folders(folder))
        raise UserError(f"{folder.parent}: has no checkpoint of step {step}; there are: {there}.")
    try:
        return Checkpoint.open(path)
    except DamagedCheckpointError as error:
        raise UserError(f"{error}; use another --step.") from error


class ImportedSource(Source):
    """What `ptm import` wrote: canonical weights, a recipe's blocks, the tokenizer's files."""

    def recipe_data(self) -> dict[str, Any]:
        """As it was written, with the paths of its own files."""
        return _with_own_tokenizer(read_recipe_data(self.folder / RECIPE), self.folder / TOKENIZER)

    def tensors(self) -> dict[str, Tensor]:
        """All of them."""
        return read_weights(self.folder / WEIGHTS)

    def description(self) -> str:
        """Where it came from is in its recipe."""
        return "imported"


class HuggingFaceSource(Source):
    """An export of ours, or any folder of a known family."""

    def __init__(self, folder: HuggingFaceFolder) -> None:
        super().__init__(folder.folder)
        self._hub = folder

    def recipe_data(self) -> dict[str, Any]:
        """The exported recipe where there is one, else what the config says."""
        written = self.folder / RECIPE
        found = self._hub.recipe_data()
        if not written.exists():
            return found
        whole: dict[str, Any] = {**found, **read_recipe_data(written)}
        here, there = found["model"]["encoder"], whole["model"].get("encoder", {})
        for key, value in here.items():
            if there.get(key) != value:
                raise UserError(
                    f"{self.folder}: config.json and recipe.yaml disagree: encoder.{key} is "
                    f"{value} in the one and {there.get(key)} in the other."
                )
        return {**whole, "tokenizer": found["tokenizer"]}

    def tensors(self) -> dict[str, Tensor]:
        """Under canonical names."""
        return self._hub.canonical()

    def description(self) -> str:
        """The family."""
        return f"a {self._hub.family.name} of transformers"


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The reports of a run; a line that a kill tore is left out."""
    path = run / "metrics.jsonl"
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records


def read_recipe_data(path: Path) -> dict[str, Any]:
    """A recipe this project wrote. Raises UserError where it is damaged."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: is damaged ({error}).") from error
    if not isinstance(data, dict):
        raise UserError(f"{path}: is damaged: it is not a recipe.")
    return data


def _with_own_tokenizer(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The recipe with the tokenizer's files taken from `folder`, where they were copied to."""
    if not isinstance(data.get("tokenizer"), dict):
        return data
    return {**data, "tokenizer": block_with_copies(data["tokenizer"], folder)}
