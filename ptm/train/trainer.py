"""The training loop: steps, reports, evaluations, checkpoints, and reasons to end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import repeat
from typing import Any

from torch import Tensor

from ptm.checkpoint.format import Checkpoint
from ptm.engines.base import Engine, StepTotals
from ptm.engines.ranks import Ranks
from ptm.errors import EXIT_DONE, EXIT_FAULT, TrainingError
from ptm.loading.batches import StepBatch, TrainStream, describe_rows, empty_batch
from ptm.loading.prefetch import Prefetcher
from ptm.loading.rows import TRAIN, PackedDataset
from ptm.loading.training_rows import TrainingRows
from ptm.model.initial_weights import InitialWeights
from ptm.out_of_memory import memory_error, training_out_of_memory
from ptm.recipe import BatchPlan, Recipe
from ptm.recipe.data_block import SHARE, UNNAMED, metric_key
from ptm.train.anomalies import AnomalyPolicy
from ptm.train.display import TrainingDisplay
from ptm.train.evaluation_sets import EvaluationSets
from ptm.train.garbage_collection import GarbageCollection
from ptm.train.profiling import DATA, RANKS, StepProfiler, waiting_for
from ptm.train.progress import RunPosition
from ptm.train.rank_file import RankFile
from ptm.train.reporter import Reporter
from ptm.train.run_folder import RunFolder
from ptm.train.samples.recorder import SampleRecorder
from ptm.train.saving.schedule import CheckpointManager
from ptm.train.stopping import BestMetric, Patience, StopRequests, all_gather_step
from ptm.train.trackers import EndState, Trackers
from ptm.train.utilisation import StepFlops

logger = logging.getLogger(__name__)

OnStepBegin = Callable[[int], None]
"""Called before each step with the number of steps done so far."""


def ignore_step(step: int) -> None:
    """An `OnStepBegin` that does nothing."""


@dataclass(frozen=True)
class TrainingData:
    """Training rows, and evaluation rows by set name."""

    train: TrainingRows
    evaluation: Mapping[str, PackedDataset]


class Trainer:
    """Trains one recipe to its last step, or until there is a reason to stop."""

    def __init__(
        self,
        recipe: Recipe,
        *,
        steps: int,
        batch: BatchPlan,
        data: TrainingData,
        engine: Engine,
        folder: RunFolder,
        ranks: Ranks,
        trackers: Trackers | None,
        rank_file: RankFile,
        display: TrainingDisplay,
        utilisation: StepFlops,
        samples: SampleRecorder,
        teachers: tuple[str, ...] = (),
    ) -> None:
        """`teachers`: fingerprints of the teachers, which are saved in checkpoints."""
        self._utilisation = utilisation
        self._recipe = recipe
        self._steps = steps
        self._batch = batch
        self._data = data
        self._engine = engine
        self._ranks = ranks
        self._trackers = trackers
        self._end: EndState = "failed"
        self._rank_file = rank_file
        self._position = RunPosition()
        self._reporter = Reporter(
            folder,
            ranks,
            trackers,
            steps=steps,
            higher=recipe.objective.higher_is_better,
            utilisation=utilisation,
            display=display,
        )
        self._track_evaluations()
        self._first_step = 0
        self._skipped_before = 0
        self._checkpoints = CheckpointManager(
            recipe.checkpoint,
            folder,
            engine,
            ranks,
            speed=self._reporter.speed,
            rank_file=rank_file,
        )
        self._anomalies = AnomalyPolicy(
            recipe.train.anomalies,
            folder,
            self._checkpoints,
            fp16=recipe.engine.precision == "fp16",
            first=ranks.is_main,
            alert=self._alert,
        )
        self._evaluation = EvaluationSets(
            data.evaluation,
            recipe.objective,
            engine,
            ranks,
            micro_batch_size=batch.micro_batch_size,
            shares=recipe.data.held_out_shares,
            folder=folder.path,
        )
        self._samples = samples
        self._garbage = GarbageCollection()
        profiled = recipe.train.profile if ranks.is_main else None
        self._profiler = StepProfiler(profiled, folder.path, ranks.device)
        self._measured: dict[str, float | None] = {}
        self._started_from: dict[str, Any] | None = None
        self._teachers: tuple[str, ...] = teachers

    def _track_evaluations(
        self, *, best: float | None = None, patience: Mapping[str, Any] | None = None
    ) -> None:
        """Set up the best metric and early stopping; `best` and `patience`: saved state."""
        higher = self._recipe.objective.higher_is_better
        metric, rule = self._recipe.checkpoint.best, self._recipe.train.early_stopping
        self._best = BestMetric(metric, best, higher=metric is not None and higher(metric))
        self._patience = Patience(rule, patience, higher=rule is not None and higher(rule.metric))

    def start_fresh(
        self,
        initial: InitialWeights,
        loaded: Mapping[str, Tensor] | None = None,
        provenance: dict[str, Any] | None = None,
    ) -> None:
        """Start at step 0 with initial weights, replaced by the warm-start weights given.

        `provenance`: provenance of the warm-start weights, for run.json.
        """
        self._engine.state.initialise(initial, loaded or {})
        self._started_from = provenance

    def resume(self, checkpoint: Checkpoint) -> None:
        """Restore the state of `checkpoint`."""
        run = checkpoint.run
        self._position = RunPosition(**run["position"])
        self._reporter.resume(run["window"])
        self._skipped_before = run["skipped"]
        self._track_evaluations(best=run["best"], patience=run["patience"])
        self._anomalies.resume(run["watch"])
        self._load_state(checkpoint)
        self._checkpoints.saved_step = self._position.step
        self._started_from = run["started_from"]

    def run(self, stop: StopRequests, on_step_begin: OnStepBegin = ignore_step) -> int:
        """Train; return the exit code."""
        self._reporter.open()
        self._first_step = self._position.step
        batches = Prefetcher(self._batches())
        try:
            with self._garbage:
                code = self._loop(batches, stop, on_step_begin)
            self._end = "done" if code == EXIT_DONE else "stopped"
            state = "done" if code == EXIT_DONE else f"stopped ({stop.reason or 'on request'})"
            self._alert(state, f"step {self._position.step} of {self._steps}")
            self._profiler.close(self._position.step, ended=code == EXIT_DONE)
            self._engine.close()
            return code
        except Exception as error:
            self._alert("failed", f"step {self._position.step}: {error}", is_error=True)
            if (reason := memory_error(error)) is not None:
                step, rows = self._position.step + 1, self._batch.micro_batch_size
                raise training_out_of_memory(reason, step=step, rows=rows) from error
            raise
        finally:
            batches.close()
            self._reporter.close()
            self._samples.close()
            self._anomalies.close()

    def _alert(self, title: str, text: str, *, is_error: bool = False) -> None:
        if self._trackers is not None:
            self._trackers.alert(f"{self._recipe.name}: {title}", text, is_error=is_error)

    def _batches(self) -> Iterator[StepBatch]:
        if not self._ranks.loads_data:
            return repeat(empty_batch(self._recipe.objective))
        stream = TrainStream(
            self._data.train,
            self._batch,
            data_parallel_rank=self._ranks.data_parallel_rank,
        )
        return stream.steps(self._position.row)

    def _loop(self, batches: Prefetcher, stop: StopRequests, on_step_begin: OnStepBegin) -> int:
        tracking, every = self._recipe.tracking, self._recipe.checkpoint.every
        if self._started_from is not None and self._position.step == 0:
            self._started_from["before"] = self._evaluate()
        self._reporter.speed.restart()
        while self._position.step < self._steps and not self._patience.exhausted:
            on_step_begin(self._position.step)
            with self._reporter.speed.paused():
                self._profiler.before_step(self._position.step)
            with waiting_for(DATA):
                batch = batches.next()
            self._rank_file.note("training", self._position.step)
            totals, code = self._all_gather_step(batch, stop)
            if code is not None:
                return self._stopped(code, stop.reason)
            rate = self._train_step(batch, totals)
            step, last = self._position.step, self._position.step == self._steps
            self._garbage.after_step(step)
            if step == self._first_step + 1 and not last and step % tracking.log_every:
                report = min(self._steps, step + tracking.log_every - step % tracking.log_every)
                logger.info("step %d/%d · first report at step %d", step, self._steps, report)
            if step % tracking.log_every == 0 or last:
                self._report(rate, batches)
            best = False
            if self._evaluation and (step % tracking.evaluate_every == 0 or last):
                best = self._record_evaluation(self._evaluate())
            ends = last or self._patience.exhausted
            due = step % every == 0 or ends or best
            if due and not self._save(wait=ends, best=best) and ends:
                raise self._checkpoints.unsaved(step)
        before = (self._started_from or {}).get("before", {})
        self._evaluation.log_changes(before, self._measured)
        if self._patience.exhausted:
            logger.info("training ended at step %d: %s", self._position.step, self._patience)
        return EXIT_DONE

    def _all_gather_step(
        self, batch: StepBatch, stop: StopRequests
    ) -> tuple[StepTotals, int | None]:
        """Step totals over all ranks, and the exit code if any rank has a request to stop."""
        code = stop.due(progressed=self._position.step > self._first_step)
        flops = self._utilisation.of(batch.sizes)
        with waiting_for(RANKS):
            summary = all_gather_step(
                batch, flops, self._ranks, code=code, saving=self._checkpoints.progress
            )
        self._checkpoints.finish_if_written(summary.saving)
        return summary.totals, summary.code

    def _stopped(self, code: int, reason: str) -> int:
        """Save and return the exit code. Raises TrainingError if the run folder was moved."""
        if code == EXIT_FAULT:
            raise self._checkpoints.moved(self._position.step)
        if not self._save(wait=True):
            raise self._checkpoints.unsaved(self._position.step)
        logger.info(
            "stopped at step %d (%s) and saved; run the same command again to continue",
            self._position.step,
            reason or "requested on another rank",
        )
        return code

    def _train_step(self, batch: StepBatch, totals: StepTotals) -> float:
        at = self._position
        factor = self._recipe.schedule.factor(at.step, self._steps)
        rate = self._recipe.optimizer.rate(at.step) * factor
        result = self._engine.train_step(
            batch,
            totals,
            step=at.step,
            learning_rate=rate,
            loss_limit=self._anomalies.loss_limit,
        )
        self._position = at.after(totals, rows=self._batch.global_batch_size)
        self._reporter.add(result, totals)
        text = self._recipe.train.anomalies.record_text
        if self._anomalies.should_roll_back(
            result,
            step=self._position.step,
            rows=lambda: describe_rows(self._data.train, self._batch, at.row, text=text),
        ):
            self._roll_back()
        return rate

    def _save(self, *, wait: bool, best: bool = False) -> bool:
        return self._checkpoints.save(self._position.step, self._run_state, wait=wait, best=best)

    def _roll_back(self) -> None:
        """Restore the weights of the newest checkpoint; continue with the data after this step.

        Raises TrainingError if there is no checkpoint.
        """
        checkpoint = self._checkpoints.newest()
        if checkpoint is None:
            raise TrainingError(
                f"step {self._position.step}: no checkpoint to roll back to exists yet. Start "
                "again with a lower optimizer.learning_rate or a smaller checkpoint.every."
            )
        self._load_state(checkpoint)
        # The step count is not reset, so the updates that were undone count as skipped.
        lost = self._position.step - checkpoint.run["updates"] - self._skipped_steps
        self._skipped_before += lost
        logger.warning(
            "rolled back to the weights of step %d; lost steps: %d", checkpoint.step, lost
        )

    def _load_state(self, checkpoint: Checkpoint) -> None:
        self._engine.state.write(
            checkpoint.values, names=checkpoint.shapes.keys(), updates=checkpoint.run["updates"]
        )
        self._engine.state.set_scaler(checkpoint.run["scaler"])

    def close(self) -> None:
        """Flush and close the trackers, which show how the run ended."""
        if self._trackers is not None:
            self._trackers.close(self._end)

    def _progress(self, split: str) -> dict[str, Any]:
        at = self._position
        return {
            "step": at.step,
            "split": split,
            "epoch": self._data.train.epoch_of(at.row),
            "rows": at.row,
            "examples": at.examples,
            "tokens": at.tokens,
        }

    def _realised_shares(self) -> dict[str, float]:
        """The share of each named source in all rows so far, by its name in reports."""
        rows = self._position.row
        counts = self._data.train.rows_before(rows)
        return {f"{SHARE}/{name}": round(count / rows, 6) for name, count in counts.items()}

    @property
    def _skipped_steps(self) -> int:
        return self._skipped_before + self._engine.state.skipped_steps

    def _report(self, rate: float, batches: Prefetcher) -> None:
        state = {
            "learning_rate": rate,
            "loss_scale": self._engine.state.loss_scale,
            "skipped_steps": self._skipped_steps,
        }
        progress = {**self._progress(TRAIN), **self._realised_shares()}
        self._reporter.report_steps(progress, state, waited=batches.waited)
        batches.waited = 0.0
        self._reporter.speed.restart()

    def _evaluate(self) -> dict[str, float | None]:
        """Report the metrics of every evaluation set; return them by `metric_key`."""
        self._rank_file.note("evaluating", self._position.step)
        began = time.perf_counter()
        found = self._evaluation.metrics(step=self._position.step)
        self._samples.record(step=self._position.step)
        self._reporter.write(
            *({**self._progress(name), **metrics} for name, metrics in found.items())
        )
        self._reporter.speed.pause(time.perf_counter() - began)
        self._measured = {
            metric_key(name, metric): value
            for name, metrics in found.items()
            for metric, value in metrics.items()
        }
        return self._measured

    def _record_evaluation(self, metrics: Mapping[str, float | None]) -> bool:
        """Record an evaluation; return whether `checkpoint.best` is the best so far."""
        self._patience.note(metrics)
        return self._best.note(metrics)

    def _run_state(self) -> dict[str, Any]:
        at = self._position
        return {
            "step": at.step,
            "updates": at.step - self._skipped_steps,
            "skipped": self._skipped_steps,
            "scaler": self._engine.state.scaler_state(),
            "position": asdict(at),
            "window": self._reporter.window_state(),
            "patience": self._patience.state(),
            "best": self._best.value,
            "watch": self._anomalies.state(),
            "steps": self._steps,
            "ended": self._patience.exhausted,
            "started_from": self._started_from,
            "teachers": list(self._teachers),
            "store": self._data.train.fingerprint,
            "tokenizer": self._data.train.tokenizer_fingerprint,
            "objective_files": self._data.train.objective.fingerprint,
            "source_stores": {
                name: rows.fingerprint
                for name, rows in self._data.train.sources.items()
                if name != UNNAMED
            },
            "evaluation_stores": {
                name: rows.store.info.fingerprint for name, rows in self._data.evaluation.items()
            },
        }
