"""The training loop: steps, reports, evaluations, checkpoints, and how it ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat
from typing import Any

from torch import Tensor

from ptm.errors import EXIT_DONE, EXIT_FAULT, TrainingError
from ptm.model.build import FirstWeights
from ptm.model.checkpoint import Checkpoint
from ptm.recipe import BatchPlan, Recipe
from ptm.recipe.blocks import AnomalyBlock, metric_key
from ptm.train.anomalies import EVENTS, Watch, write_event
from ptm.train.batches import (
    StepBatch,
    TrainStream,
    described_rows,
    evaluation_batches,
    no_rows,
)
from ptm.train.checkpoints import Checkpoints
from ptm.train.distributed import Ranks, gathered, summed
from ptm.train.engines.contract import Engine, StepResult, StepTotals
from ptm.train.means import Counted, means_of
from ptm.train.metrics import MetricsFile, Speed, Window, console_line, peak_memory
from ptm.train.prefetch import Prefetcher
from ptm.train.rank_file import RankFile
from ptm.train.rows import TRAIN, RowSet
from ptm.train.run_folder import RunFolder
from ptm.train.stopping import Patience, StopRequests, is_better
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
    """What a run trains on, and what it is evaluated on, by name."""

    train: RowSet
    evaluation: Mapping[str, RowSet]


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
        rank_file: RankFile,
        teachers: tuple[str, ...] = (),
    ) -> None:
        """`teachers`: fingerprints of those that a checkpoint is bound to."""
        self._recipe = recipe
        self._steps = steps
        self._batch = batch
        self._data = data
        self._engine = engine
        self._folder = folder
        self._ranks = ranks
        self._trackers = trackers
        self._rank_file = rank_file
        self._position = Position()
        self._window = Window(ranks)
        self._patience = Patience(recipe.train.early_stopping)
        self._watch = Watch(recipe.train.anomalies)
        self._speed = Speed()
        self._begun_at = 0
        self._skipped_before = 0
        self._best: float | None = None
        self._checkpoints = Checkpoints(
            recipe, folder, engine, ranks, speed=self._speed, rank_file=rank_file
        )
        self._metrics: MetricsFile | None = None
        self._measured: dict[str, float] = {}
        self._started_from: dict[str, Any] | None = None
        self._teachers: tuple[str, ...] = teachers

    def start_fresh(
        self,
        first: FirstWeights,
        learnt: Mapping[str, Tensor] | None = None,
        story: dict[str, Any] | None = None,
    ) -> None:
        """Begin with first weights, or with `learnt` ones where there are; `story` for run.json."""
        self._engine.state.begin(first, learnt or {})
        self._started_from = story

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from `checkpoint`."""
        run = checkpoint.run
        self._position = Position(**run["position"])
        self._window = Window(self._ranks, run["window"])
        self._skipped_before = run["skipped"]
        self._best = run["best"]
        self._patience = Patience(self._recipe.train.early_stopping, run["patience"])
        self._watch = Watch(self._recipe.train.anomalies, run["watch"])
        self._take_state(checkpoint)
        self._checkpoints.saved_step = self._position.step
        self._started_from = run["started_from"]

    def run(self, stop: StopRequests) -> int:
        """Train; return the exit code."""
        self._metrics = MetricsFile(self._folder.metrics) if self._ranks.first else None
        self._begun_at = self._position.step
        batches = Prefetcher(self._batches())
        try:
            code = self._loop(batches, stop)
            self._engine.close()
            return code
        finally:
            batches.close()
            if self._metrics is not None:
                self._metrics.close()

    def _batches(self) -> Iterator[StepBatch]:
        if not self._ranks.reads_rows:
            return repeat(no_rows(self._recipe.objective))
        stream = TrainStream(
            self._data.train,
            self._batch,
            data_rank=self._ranks.data_rank,
        )
        return stream.steps(self._position.row)

    def _loop(self, batches: Prefetcher, stop: StopRequests) -> int:
        tracking, every = self._recipe.tracking, self._recipe.checkpoint.every
        if self._started_from is not None and self._position.step == 0:
            self._started_from["before"] = self._evaluate()
        self._speed.restart()
        while self._position.step < self._steps and not self._patience.exhausted:
            batch = batches.next()
            self._rank_file.note("training", self._position.step)
            totals, code = self._agree(batch, stop)
            if code is not None:
                return self._stopped(code, stop.reason)
            rate = self._train_one(batch, totals)
            step, last = self._position.step, self._position.step == self._steps
            if step % tracking.report_every == 0 or last:
                self._report(rate, batches)
            best = False
            if self._data.evaluation and (step % tracking.evaluate_every == 0 or last):
                best = self._judge_evaluation(self._evaluate())
            ends = last or self._patience.exhausted
            due = step % every == 0 or ends or best
            if due and not self._save(wait=ends, best=best) and ends:
                return EXIT_FAULT
        self._tell_progress()
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

    def _agree(self, batch: StepBatch, stop: StopRequests) -> tuple[StepTotals, int | None]:
        """What all ranks' rows come to, and the exit code if any rank was asked to stop.

        The engine asks the ranks once more, after the step, for its loss and gradient norm.
        """
        # The last stage sees the rows that the first has counted.
        counts = batch.counts if self._ranks.stage == 0 else dict.fromkeys(batch.counts, 0)
        code = stop.due(progressed=self._position.step > self._begun_at)
        every = gathered(
            {
                **{f"count {name}": float(count) for name, count in counts.items()},
                "examples": batch.examples if self._ranks.stage == 0 else 0,
                "tokens": batch.tokens if self._ranks.stage == 0 else 0,
                "capacity": batch.capacity,
                "code": -1 if code is None else code,
                "saving": self._checkpoints.progress,
            },
            self._ranks,
        )
        self._checkpoints.finish_if_written(row["saving"] for row in every)
        asked = int(max(row["code"] for row in every))
        totals = StepTotals(
            counts={name: sum(row[f"count {name}"] for row in every) for name in counts},
            capacity=int(max(row["capacity"] for row in every)),
            examples=int(sum(row["examples"] for row in every)),
            tokens=int(sum(row["tokens"] for row in every)),
        )
        return totals, asked if asked >= 0 else None

    def _stopped(self, code: int, reason: str) -> int:
        """Save and leave; the exit code."""
        if not self._save(wait=True):
            return EXIT_FAULT
        logger.info(
            "stopped at step %d (%s) and saved; run the same command again to go on",
            self._position.step,
            reason or "another rank was asked to",
        )
        return code

    def _train_one(self, batch: StepBatch, totals: StepTotals) -> float:
        at = self._position
        rate = self._recipe.optimizer.learning_rate * self._recipe.schedule.factor(
            at.step, self._steps
        )
        result = self._engine.train_step(
            batch,
            totals,
            step=at.step,
            learning_rate=rate,
            loss_limit=self._watch.loss_limit,
        )
        self._window.add(result)
        self._position = Position(
            step=at.step + 1,
            row=at.row + self._batch.global_rows,
            examples=at.examples + totals.examples,
            tokens=at.tokens + totals.tokens,
        )
        self._speed.add(tokens=totals.tokens, examples=totals.examples)
        self._judge(result, at)
        return rate

    def _save(self, *, wait: bool, best: bool = False) -> bool:
        return self._checkpoints.save(self._position.step, self._run_state, wait=wait, best=best)

    def _judge(self, result: StepResult, at: Position) -> None:
        """Act upon a step that is not like the others; `at`: where it began.

        Raises TrainingError where it is to end the training.
        """
        fp16 = self._recipe.engine.precision == "fp16"
        anomaly = self._watch.judge(
            loss=result.loss,
            grad_norm=None if result.skipped else result.grad_norm,
            overflow=result.skipped and not fp16,
        )
        if anomaly is None:
            return
        rule, step = self._recipe.train.anomalies, at.step + 1
        action = "stop" if self._watch.exhausted else rule.policy
        if self._ranks.first:
            rows = described_rows(self._data.train, self._batch, at.row, text=rule.text)
            write_event(self._folder.path, anomaly, step=step, action=action, batch=rows)
        what = f"step {step}: {anomaly} ({self._folder.path / EVENTS} has its examples)"
        if action == "rollback":
            logger.warning("%s", what)
            self._roll_back(step)
        elif action == "skip":
            logger.warning("%s; %s", what, "skipped" if result.skipped else "not skipped")
        else:
            raise TrainingError(f"{what}. {self._way_on(rule)}")

    def _way_on(self, rule: AnomalyBlock) -> str:
        """What a user can do whose training an anomaly has ended."""
        self._checkpoints.finish()
        saved = self._checkpoints.saved_step
        there = "There is no checkpoint yet" if saved is None else f"Step {saved} is saved"
        if self._watch.exhausted:
            return (
                f"{there}; that was anomaly {self._watch.count}, and train.anomalies.limit is "
                f"{rule.limit}: raise it, or optimizer.learning_rate may be too high."
            )
        policies = "policy=skip" if saved is None else "policy=skip or =rollback"
        return (
            f"{there}; to go on past it, run again with train.anomalies.{policies}, or learn more "
            "slowly."
        )

    def _roll_back(self, step: int) -> None:
        """Take the weights of the checkpoint before, and go on with the data after `step`.

        Raises TrainingError where there is none.
        """
        checkpoint = self._checkpoints.newest()
        if checkpoint is None:
            raise TrainingError(
                f"step {step}: there is no checkpoint to roll back to yet: set checkpoint.every "
                "lower, or train.anomalies.policy=skip."
            )
        self._take_state(checkpoint)
        # Batches are counted on; those between had no part in these weights.
        lost = self._position.step - checkpoint.run["updates"] - self._skipped_steps
        self._skipped_before += lost
        logger.warning("back to the weights of step %d; %d steps are lost", checkpoint.step, lost)

    def _take_state(self, checkpoint: Checkpoint) -> None:
        self._engine.state.write(
            checkpoint.values, names=checkpoint.shapes.keys(), updates=checkpoint.run["updates"]
        )
        self._engine.state.set_scaler(checkpoint.run["scaler"])

    def close(self) -> None:
        """Let the trackers write out everything."""
        if self._trackers is not None:
            self._trackers.close()

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

    @property
    def _skipped_steps(self) -> int:
        return self._skipped_before + self._engine.state.skipped_steps

    def _report(self, rate: float, batches: Prefetcher) -> None:
        # Reading the means waits for the device, so the clock is read after it.
        means = self._window.means()
        every = gathered(
            {"memory": peak_memory(self._ranks.device), "waited": batches.waited}, self._ranks
        )
        record = {
            **self._progress(TRAIN),
            **{name: means[name] for name in sorted(means, key=lambda name: name != "loss")},
            "learning_rate": rate,
            "loss_scale": self._engine.state.loss_scale,
            "skipped_steps": self._skipped_steps,
            **self._speed.rates(waited=max(row["waited"] for row in every)),
            "memory_bytes": int(max(row["memory"] for row in every)),
        }
        self._tell(record)
        self._window = Window(self._ranks)
        batches.waited = 0.0
        self._speed.restart()

    def _evaluate(self) -> dict[str, float]:
        """Tell the metrics of every evaluation set; return them by `metric_key`."""
        self._rank_file.note("evaluating", self._position.step)
        began = time.perf_counter()
        records = [
            {**self._progress(name), **self._metrics_of(rows)}
            for name, rows in self._data.evaluation.items()
        ]
        self._tell(*records)
        self._speed.pause(time.perf_counter() - began)
        measured = ("loss", "perplexity", *(m.name for m in self._recipe.objective.metrics))
        self._measured = {
            metric_key(record["split"], name): record[name]
            for record in records
            for name in measured
        }
        return self._measured

    def _judge_evaluation(self, metrics: Mapping[str, float]) -> bool:
        """Note an evaluation; whether the metric to keep checkpoints by is the best so far."""
        self._patience.note(metrics)
        rule = self._recipe.checkpoint.best
        if rule is None or not is_better(rule, metrics[rule], self._best):
            return False
        self._best = metrics[rule]
        return True

    def _tell_progress(self) -> None:
        """Say what became of weights that were learnt elsewhere."""
        before = (self._started_from or {}).get("before", {})
        for name in self._data.evaluation if before and self._measured else ():
            changes = (
                f"{metric} {before[key]:.4f} -> {self._measured[key]:.4f}"
                for metric in ("loss", "perplexity")
                if (key := metric_key(name, metric)) in before
            )
            logger.info("%s, before -> after: %s", name, ", ".join(changes))

    def _metrics_of(self, rows: RowSet) -> dict[str, float]:
        """The objective's metrics over `rows`; called by all ranks."""
        objective = self._recipe.objective
        batches = Counted(self._evaluation_batches(rows), objective)
        sums = self._engine.sums(batches)
        # The last stage sees the rows that the first has counted.
        counts = batches.counts if self._ranks.stage == 0 else dict.fromkeys(batches.counts, 0.0)
        every = summed(
            {
                **{f"sum {name}": value for name, value in sums.items()},
                **{f"count {name}": value for name, value in counts.items()},
            },
            self._ranks,
        )
        return means_of(
            {name: every[f"sum {name}"] for name in sums},
            {name: every[f"count {name}"] for name in counts},
            objective,
            step=self._position.step,
        )

    def _evaluation_batches(self, rows: RowSet) -> Iterator[StepBatch]:
        """This rank's; as many on every one."""
        ranks, size = self._ranks, self._batch.micro_rows
        if not ranks.reads_rows:
            count = -(-len(rows) // (size * ranks.data_ranks))
            return repeat(no_rows(self._recipe.objective), count)
        return evaluation_batches(
            rows, size, data_rank=ranks.data_rank, data_ranks=ranks.data_ranks
        )

    def _tell(self, *records: Mapping[str, Any]) -> None:
        if self._metrics is None:
            return
        for record in records:
            self._metrics.write(record)
            logger.info("%s", console_line(record, steps=self._steps))
        if self._trackers is not None and records:
            self._trackers.log(*records)

    def _run_state(self) -> dict[str, Any]:
        at = self._position
        return {
            "step": at.step,
            "updates": at.step - self._skipped_steps,
            "skipped": self._skipped_steps,
            "scaler": self._engine.state.scaler_state(),
            "position": {
                "step": at.step,
                "row": at.row,
                "examples": at.examples,
                "tokens": at.tokens,
            },
            "window": self._window.state(),
            "patience": self._patience.state(),
            "best": self._best,
            "watch": self._watch.state(),
            "steps": self._steps,
            "ended": self._patience.exhausted,
            "started_from": self._started_from,
            "teachers": list(self._teachers),
            "store": self._data.train.store.info.fingerprint,
            "tokenizer": self._data.train.store.info.tokenizer,
            "objective_files": self._data.train.objective.fingerprint,
        }
