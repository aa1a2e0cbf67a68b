"""The training loop: steps, reports, evaluations, checkpoints, and how it ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ptm.errors import EXIT_DONE, EXIT_FAULT
from ptm.model.checkpoint import Checkpoint
from ptm.recipe import BatchPlan, Recipe
from ptm.train.distributed import Ranks
from ptm.train.engine import Engine
from ptm.train.means import with_perplexity
from ptm.train.metrics import MetricsFile, Speed, Window, console_line, peak_memory
from ptm.train.rows import EVAL, TRAIN, Prefetcher, RowSet, TrainStream, evaluation_batches
from ptm.train.run_folder import RunFolder
from ptm.train.save import clear_leftovers, write_checkpoint
from ptm.train.stopping import Patience, StopRequests
from ptm.train.trackers import Trackers

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Position:
    """How far a run is: global batches and rows consumed, and real examples and tokens seen."""

    step: int = 0
    row: int = 0
    examples: int = 0
    tokens: int = 0


@dataclass(frozen=True)
class Data:
    """The two splits of a run."""

    train: RowSet
    held_out: RowSet | None


class Trainer:
    """Runs one recipe to its end, or to a reason to stop."""

    def __init__(
        self,
        recipe: Recipe,
        *,
        steps: int,
        batch: BatchPlan,
        data: Data,
        engine: Engine,
        folder: RunFolder,
        ranks: Ranks,
        trackers: Trackers | None,
    ) -> None:
        self._recipe = recipe
        self._steps = steps
        self._batch = batch
        self._data = data
        self._engine = engine
        self._folder = folder
        self._ranks = ranks
        self._trackers = trackers
        self._position = Position()
        self._window = Window(ranks)
        self._patience = Patience(recipe.train.early_stopping)
        self._speed = Speed()
        self._saved_step: int | None = None
        self._metrics: MetricsFile | None = None
        self._started_from: dict[str, Any] | None = None

    def start_from(self, weights: Mapping[str, Tensor], story: dict[str, Any]) -> None:
        """Begin with other weights; `story` tells what came from where, for run.json."""

        def values(name: str, kind: str, start: int, count: int) -> Tensor:
            return weights[name].reshape(-1)[start : start + count]

        self._engine.state.write(values, names=weights.keys(), updates=0)
        self._started_from = story

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from `checkpoint`."""
        run = checkpoint.run
        self._position = Position(**run["position"])
        self._window = Window(self._ranks, run["window"]["sums"], run["window"]["steps"])
        self._patience = Patience(self._recipe.train.early_stopping, run["patience"])
        self._engine.state.write(
            checkpoint.values, names=checkpoint.shapes.keys(), updates=run["updates"]
        )
        self._saved_step = self._position.step
        self._started_from = run["started_from"]

    def run(self, stop: StopRequests) -> int:
        """Train; return the exit code."""
        self._metrics = MetricsFile(self._folder.metrics) if self._ranks.first else None
        stream = TrainStream(
            self._data.train, self._batch, seed=self._recipe.seed, rank=self._ranks.rank
        )
        batches = Prefetcher(stream.steps(self._position.row))
        try:
            return self._loop(batches, stop)
        finally:
            batches.close()
            if self._metrics is not None:
                self._metrics.close()

    def _loop(self, batches: Prefetcher, stop: StopRequests) -> int:
        tracking, every = self._recipe.tracking, self._recipe.checkpoint.every
        self._speed.restart()
        while self._position.step < self._steps and not self._patience.exhausted:
            rate = self._train_one(batches)
            step, last = self._position.step, self._position.step == self._steps
            if step % tracking.report_every == 0 or last:
                self._report(rate, batches)
            if self._data.held_out is not None and (step % tracking.evaluate_every == 0 or last):
                self._evaluate()
            stopping = stop.due()
            if step % every == 0 or last or stopping or self._patience.exhausted:
                saved = self._save()
                if not saved and (last or stopping or self._patience.exhausted):
                    return EXIT_FAULT
            if stopping and not last:
                assert stop.exit_code is not None, "stopping has an exit code"
                logger.info(
                    "stopped at step %d (%s) and saved; run the same command again to go on",
                    step,
                    stop.reason,
                )
                return stop.exit_code
        if self._patience.exhausted:
            rule = self._recipe.train.early_stopping
            assert rule is not None, "patience without a rule"
            logger.info(
                "ended at step %d: %s has not been better than %.5g for %d evaluations",
                self._position.step,
                rule.metric,
                self._patience.best,
                self._patience.misses,
            )
        return EXIT_DONE

    def _train_one(self, batches: Prefetcher) -> float:
        batch = batches.next()
        at = self._position
        rate = self._recipe.optimizer.learning_rate * self._recipe.schedule.factor(
            at.step, self._steps
        )
        result = self._engine.train_step(batch, step=at.step, learning_rate=rate)
        self._window.add(result)
        self._position = Position(
            step=at.step + 1,
            row=at.row + self._batch.global_rows,
            examples=at.examples + result.examples,
            tokens=at.tokens + result.tokens,
        )
        self._speed.add(tokens=result.tokens, examples=result.examples)
        return rate

    def close(self) -> None:
        """Let the trackers write out everything."""
        if self._trackers is not None:
            self._trackers.close()

    def _progress(self, split: str) -> dict[str, Any]:
        at = self._position
        return {
            "step": at.step,
            "split": split,
            "epoch": at.row // len(self._data.train),
            "rows": at.row,
            "examples": at.examples,
            "tokens": at.tokens,
        }

    def _report(self, rate: float, batches: Prefetcher) -> None:
        # Reading the means waits for the device, so the clock is read after it.
        means = self._window.means()
        record = {
            **self._progress(TRAIN),
            **{name: means[name] for name in sorted(means, key=lambda name: name != "loss")},
            "learning_rate": rate,
            "loss_scale": 1.0,
            "skipped_steps": 0,
            **self._speed.rates(waited=batches.waited),
            "memory_bytes": peak_memory(),
        }
        self._tell(record)
        self._window = Window(self._ranks)
        batches.waited = 0.0
        self._speed.restart()

    def _evaluate(self) -> None:
        assert self._data.held_out is not None, "nothing is held out"
        began = time.perf_counter()
        rows = evaluation_batches(self._data.held_out, self._batch.micro_rows)
        metrics = with_perplexity(self._engine.evaluate(rows))
        self._patience.note(metrics)
        self._tell({**self._progress(EVAL), **metrics})
        self._speed.pause(time.perf_counter() - began)

    def _tell(self, record: Mapping[str, Any]) -> None:
        if self._metrics is None:
            return
        self._metrics.write(record)
        if self._trackers is not None:
            self._trackers.log(record)
        logger.info("%s", console_line(record, steps=self._steps))

    def _save(self) -> bool:
        """Save where that has not been done; whether the run is saved."""
        if self._saved_step == self._position.step:
            return True
        began = time.perf_counter()
        try:
            write_checkpoint(
                self._folder.checkpoints,
                step=self._position.step,
                state=self._engine.state,
                run=self._run_state(),
                ranks=self._ranks,
                keep=self._recipe.checkpoint.keep,
            )
        except OSError as error:
            clear_leftovers(self._folder.checkpoints)
            kept = "none" if self._saved_step is None else f"step {self._saved_step}"
            logger.error(
                "the checkpoint of step %d could not be written (%s); the newest whole one: %s",
                self._position.step,
                error,
                kept,
            )
            return False
        self._saved_step = self._position.step
        self._speed.pause(time.perf_counter() - began)
        return True

    def _run_state(self) -> dict[str, Any]:
        at = self._position
        return {
            "step": at.step,
            "updates": at.step,
            "position": {
                "step": at.step,
                "row": at.row,
                "examples": at.examples,
                "tokens": at.tokens,
            },
            "window": self._window.state(),
            "patience": self._patience.state(),
            "steps": self._steps,
            "ended": self._patience.exhausted,
            "started_from": self._started_from,
            "store": self._data.train.store.info.fingerprint,
            "tokenizer": self._data.train.store.info.tokenizer,
        }
