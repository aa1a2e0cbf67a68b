"""TensorBoard and Weights & Biases. A tracker that fails is left out; it never stops a training."""

from __future__ import annotations

import json
import logging
import netrc
import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from ptm.recipe import Recipe
from ptm.recipe.blocks import WandbBlock

logger = logging.getLogger(__name__)

_PERFORMANCE = {
    "tokens_per_second",
    "examples_per_second",
    "step_seconds",
    "data_wait_seconds",
    "memory_bytes",
    "mfu",
}


class Tracker(Protocol):
    """Something that shows curves."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Take in named values at a step."""
        ...

    def close(self) -> None:
        """Write out everything."""
        ...


class Trackers:
    """All trackers of a run, those that fail left out from then on."""

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        self._trackers: dict[str, Tracker] = {}
        if recipe.tracking.tensorboard:
            self._start("tensorboard", lambda: _TensorBoard(folder / "tensorboard"))
        if recipe.tracking.wandb is not None:
            block = recipe.tracking.wandb
            self._start("wandb", lambda: _Wandb(block, recipe, folder))

    def _start(self, name: str, make: Callable[[], Tracker]) -> None:
        try:
            self._trackers[name] = make()
        except Exception as error:
            logger.warning("%s cannot be used and is left out: %s", name, error)

    def log(self, record: Mapping[str, Any]) -> None:
        """Send one report to every tracker."""
        values = tracker_values(record)
        for name, tracker in list(self._trackers.items()):
            try:
                tracker.log(values, record["step"])
            except Exception as error:
                logger.warning("%s failed and is left out from here on: %s", name, error)
                del self._trackers[name]

    def close(self) -> None:
        """Write out everything."""
        for name, tracker in self._trackers.items():
            try:
                tracker.close()
            except Exception as error:
                logger.warning("%s could not be closed: %s", name, error)


def tracker_values(record: Mapping[str, Any]) -> dict[str, float]:
    """A report under the names trackers see: `train/loss`, `eval/perplexity`, `perf/…`."""
    return {
        f"{'perf' if key in _PERFORMANCE else record['split']}/{key}": float(value)
        for key, value in record.items()
        if isinstance(value, int | float) and key != "step"
    }


class _TensorBoard:
    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    """One W&B run over all continuations: its id is kept in the run folder."""

    def __init__(self, block: WandbBlock, recipe: Recipe, folder: Path) -> None:
        import wandb

        kept = folder / "wandb_run.json"
        run_id = json.loads(kept.read_text())["id"] if kept.exists() else uuid.uuid4().hex[:8]
        kept.write_text(json.dumps({"id": run_id}))
        self._run: Any = wandb.init(
            project=block.project,
            entity=block.entity,
            name=recipe.name,
            id=run_id,
            resume="allow",
            dir=str(folder),
            config=recipe.model_dump(mode="json"),
            mode="online" if _logged_in() else "offline",
            settings=wandb.Settings(silent=True),
        )
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._run.log({**values, "step": step})

    def close(self) -> None:
        self._run.finish()


def _logged_in() -> bool:
    """Whether W&B may go online: it has a key (looked up without asking anybody) and is let."""
    mode = os.environ.get("WANDB_MODE")
    if mode is not None:
        return mode == "online"
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return bool(netrc.netrc().authenticators("api.wandb.ai"))
    except (OSError, netrc.NetrcParseError):
        return False
