"""Start and finish the checkpoints of a training, and log failed ones."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from ptm.checkpoint.format import Checkpoint
from ptm.checkpoint.writing import Retention
from ptm.engines.base import Engine
from ptm.engines.ranks import Ranks
from ptm.errors import TrainingError
from ptm.recipe.blocks import CheckpointBlock
from ptm.train.metrics import Throughput
from ptm.train.rank_file import RankFile
from ptm.train.run_folder import RunFolder
from ptm.train.saving.writer import CheckpointWriter, SaveProgress

logger = logging.getLogger(__name__)


class CheckpointManager:
    """Saves checkpoints, asynchronously if `checkpoint.async_save` is set and the engine allows.

    All ranks call the same methods in the same order.
    """

    def __init__(
        self,
        block: CheckpointBlock,
        folder: RunFolder,
        engine: Engine,
        ranks: Ranks,
        *,
        speed: Throughput,
        rank_file: RankFile,
    ) -> None:
        self.saved_step: int | None = None
        self._failure: OSError | None = None
        self._folder = folder.checkpoints
        self._speed = speed
        self._rank_file = rank_file
        self._asynchronous = block.async_save and engine.state_is_in_memory
        self._writer = CheckpointWriter(
            self._folder,
            engine.state,
            ranks,
            Retention(block.keep, block.keep_every),
            node_local=block.node_local,
        )

    @property
    def progress(self) -> SaveProgress:
        """This rank's progress with the checkpoint being written."""
        return self._writer.progress

    def save(
        self, step: int, run: Callable[[], dict[str, Any]], *, wait: bool, best: bool = False
    ) -> bool:
        """Save a checkpoint unless `step` is saved already; return False if a save failed.

        `run` returns the contents of run.json. `wait`: return when the checkpoint is written.
        `best`: also mark it as the best checkpoint.
        """
        fine = self.finish()
        if self.saved_step == step and not best:
            return fine

        def write() -> int | None:
            self._writer.start(step, run(), asynchronous=self._asynchronous, best=best)
            return self._writer.finish() if wait or not self._asynchronous else None

        return self._try(write, step)

    def finish(self) -> bool:
        """Wait for the checkpoint being written, if any; return False if it failed."""
        step = self._writer.step
        return True if step is None else self._try(self._writer.finish, step)

    def finish_if_written(self, every: Iterable[float]) -> None:
        """Finish the checkpoint if the progress of `every` rank is WRITTEN or FAILED."""
        if all(progress >= SaveProgress.WRITTEN for progress in every):
            self.finish()

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that this training saved or resumed from, or None."""
        self.finish()
        if self.saved_step is None:
            return None
        return Checkpoint.open(self._folder / f"global_step{self.saved_step}", verify=False)

    def unsaved(self, step: int) -> TrainingError:
        """The error that ends a training whose last `step` could not be saved."""
        kept = "none" if self.saved_step is None else f"step {self.saved_step}"
        return TrainingError(
            f"step {step} could not be saved ({self._failure}). Newest complete checkpoint: "
            f"{kept}. Free disk space or fix the cause of the error, then run the same command to "
            "continue."
        )

    def moved(self, step: int) -> TrainingError:
        """The error that ends a training whose run folder was renamed or removed meanwhile."""
        kept = "none" if self.saved_step is None else f"step {self.saved_step}"
        return TrainingError(
            f"{self._folder.parent}: the run folder was renamed or removed during the training, "
            f"which therefore ends at step {step} without saving. Newest checkpoint, wherever the "
            f"folder is now: {kept}. Move the folder back and run the same command to continue."
        )

    def _try(self, work: Callable[[], int | None], step: int) -> bool:
        began = time.perf_counter()
        self._rank_file.note("saving", step)
        try:
            saved = work()
        except OSError as error:
            self._failure = error
            kept = "none" if self.saved_step is None else f"step {self.saved_step}"
            logger.error(
                "the checkpoint of step %d could not be written (%s); newest complete "
                "checkpoint: %s",
                step,
                error,
                kept,
            )
            return False
        finally:
            self._speed.saved(time.perf_counter() - began)
            self._rank_file.note("training", step)
        self.saved_step = self.saved_step if saved is None else saved
        return True
