"""A run as a source: one checkpoint, or the mean of its last checkpoints."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptm.checkpoint.format import (
    BEST,
    Checkpoint,
    checkpoint_folders,
    newest_checkpoint,
    open_held,
    read_pointer,
    step_of,
)
from ptm.checkpoint.verification import DamagedCheckpointError
from ptm.components.adapters.base import LowRankUpdate
from ptm.console.phases import tracked
from ptm.errors import UserError
from ptm.interop.sources.base import ModelSource
from ptm.model.build import training_plan
from ptm.recipe import Recipe
from ptm.recipe.saved_files import RECIPE, read_metrics, read_recipe_data, with_own_tokenizers

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)


class RunSource(ModelSource):
    """A run at its newest complete checkpoint, or at the checkpoint `step`."""

    def __init__(self, folder: Path, *, step: int | str | None) -> None:
        super().__init__(folder)
        self._checkpoint = _checkpoint(folder / "checkpoints", step)

    @property
    def step(self) -> int:
        """The step of its checkpoint."""
        return self._checkpoint.step

    def recipe_data(self) -> dict[str, Any]:
        """Return the run's resolved recipe, with the run's own copies of the tokenizer files."""
        return with_own_tokenizers(read_recipe_data(self.folder / RECIPE), self.folder)

    def tensors(self) -> dict[str, Tensor]:
        """Every weight of the model; the updates of an adapter are added to the weights."""
        return {name: self._weight(self._checkpoint, name) for name in _read(self.names)}

    @property
    def names(self) -> list[str]:
        """The canonical names of the model's weights: those of a checkpoint but the adapter's."""
        updates = chain.from_iterable(self.updates.values())
        own = {name for one in updates for name in (one.a, one.b)}
        return [name for name in self._checkpoint.shapes if name not in own]

    @cached_property
    def updates(self) -> Mapping[str, tuple[LowRankUpdate, ...]]:
        """The updates of each weight that the run's adapter changes; empty without an adapter."""
        recipe = self.recipe()
        if not isinstance(recipe, Recipe) or recipe.adapter is None:
            return {}
        # Their names do not depend on the vocabulary.
        return recipe.adapter.updates(training_plan(recipe, vocabulary_size=1))

    def stored_tensors(self) -> dict[str, Tensor]:
        """Every tensor as the checkpoint holds it: the weights before updates, and the adapter."""
        names = list(self._checkpoint.shapes)
        return {name: self._checkpoint.weights(name) for name in _read(names)}

    def _weight(self, checkpoint: Checkpoint, name: str) -> Tensor:
        weight = checkpoint.weights(name)
        for update in self.updates.get(name, ()):
            added = update.delta(checkpoint.weights(update.a), checkpoint.weights(update.b))
            weight[update.start : update.start + update.count] += added
        return weight

    def description(self) -> str:
        return f"step {self._checkpoint.step}"

    def provenance(self) -> dict[str, str]:
        """Return the step and the last evaluation at or before it."""
        found = {"steps": str(self._checkpoint.step)}
        try:
            records = read_metrics(self.folder)
        except UserError as error:
            logger.warning("the model card has no metrics: %s", error)
            return found
        before = [record for record in records if record["step"] <= self._checkpoint.step]
        # The last evaluation of each set.
        evaluations = {one["split"]: one for one in before if one["split"] != "train"}
        higher = self.recipe().objective.higher_is_better
        for split, record in evaluations.items():
            shown = ("loss", "perplexity", *(key for key in record if higher(key)))
            found["tokens seen"] = f"{record.get('tokens', 0):,}"
            values = {key: record[key] for key in shown if record.get(key) is not None}
            name = "held-out" if split == "eval" else split
            found |= {f"{name} {key}": f"{value:.4f}" for key, value in values.items()}
        return found


class AveragedSource(RunSource):
    """The mean of a run's last `count` checkpoints up to `step` (Izmailov et al. 2018)."""

    def __init__(self, folder: Path, *, step: int | str | None, count: int) -> None:
        super().__init__(folder, step=step)
        if count < 1:
            raise UserError(f"--average {count}: must be at least 1.")
        last = self._checkpoint.step
        paths = checkpoint_folders(folder / "checkpoints")
        available = [step_of(path) for path in paths if step_of(path) <= last]
        if count > len(available):
            raise UserError(
                f"{folder}: --average {count} needs {count} checkpoints up to step {last}, but "
                f"the run has {len(available)} ({', '.join(map(str, reversed(available)))}). Give "
                "a smaller number. checkpoint.keep in the recipe sets how many are kept."
            )
        earlier = [_checkpoint(folder / "checkpoints", step) for step in available[1:count]]
        self._checkpoints = (self._checkpoint, *earlier)

    def tensors(self) -> dict[str, Tensor]:
        """Average tensor by tensor, so that memory holds one model and one more tensor at most."""
        return {name: self._mean(name) for name in _read(self.names)}

    def _mean(self, name: str) -> Tensor:
        total = self._weight(self._checkpoint, name).double()
        for checkpoint in self._checkpoints[1:]:
            total += self._weight(checkpoint, name)
        return (total / len(self._checkpoints)).float()

    def description(self) -> str:
        steps = ", ".join(str(checkpoint.step) for checkpoint in reversed(self._checkpoints))
        return f"mean of the checkpoints at steps {steps}"

    def provenance(self) -> dict[str, str]:
        """Return the step alone: evaluations measured single checkpoints, not their mean."""
        return {"steps": str(self._checkpoint.step)}


def _read(names: list[str]) -> Iterator[str]:
    """`names` of tensors that are read one after the other, as a phase of the command."""
    return tracked(names, "reading the weights", total=len(names), unit="tensors")


def _checkpoint(folder: Path, step: int | str | None) -> Checkpoint:
    if step is None:
        checkpoint = newest_checkpoint(folder)
        if checkpoint is None:
            raise UserError(f"{folder.parent}: the run has no checkpoint yet.")
        return checkpoint
    if step == BEST:
        name = read_pointer(folder, BEST)
        if name is None:
            raise UserError(
                f"{folder.parent}: the run has no best checkpoint. Set checkpoint.best in its "
                "recipe to keep one."
            )
        step = name.removeprefix("global_step")
    path = folder / f"global_step{step}"
    if not path.is_dir():
        available = ", ".join(
            p.name.removeprefix("global_step") for p in checkpoint_folders(folder)
        )
        raise UserError(
            f"{folder.parent}: the run has no checkpoint at step {step}. Available: {available}."
        )
    try:
        return open_held(path)
    except DamagedCheckpointError as error:
        raise UserError(f"{error}. Give another --step.") from error
