"""A run as a source: the checkpoint of one step, or the mean of its last ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptm.checkpoint.format import BEST, Checkpoint, checkpoint_folders, newest_checkpoint, step_of
from ptm.checkpoint.verification import DamagedCheckpointError
from ptm.errors import UserError
from ptm.interop.sources.base import Source
from ptm.recipe.saved_files import RECIPE, read_metrics, read_recipe_data, with_own_tokenizers

if TYPE_CHECKING:
    from torch import Tensor


class RunSource(Source):
    """A run: its newest whole checkpoint, or that of one step."""

    def __init__(self, folder: Path, *, step: int | str | None) -> None:
        super().__init__(folder)
        self._checkpoint = _checkpoint(folder / "checkpoints", step)

    def recipe_data(self) -> dict[str, Any]:
        """As the run resolved it, the tokenizer's files from the run's own copies."""
        return with_own_tokenizers(read_recipe_data(self.folder / RECIPE), self.folder)

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
                higher = self.recipe().objective.higher_is_better
                shown = ("loss", "perplexity", *(key for key in record if higher(key)))
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
