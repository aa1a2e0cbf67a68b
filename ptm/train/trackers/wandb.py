"""Weights & Biases: one run id over all starts, online if the user is logged in."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from ptm.errors import EXIT_DONE, EXIT_FAULT, UserError
from ptm.files.kinds import WANDB_RUN
from ptm.files.ownership import remove_folder
from ptm.recipe import Recipe, with_shown_urls
from ptm.recipe.tracking import WandbBlock
from ptm.train.samples.record import SampleRecord
from ptm.train.trackers.base import (
    SAMPLES,
    TABLE_COLUMNS,
    EndState,
    History,
    RecipeTracker,
    table_rows,
)
from ptm.train.trackers.best import best_of
from ptm.train.trackers.run_id import own_run_id
from ptm.train.trackers.sweeps import trial_id

logger = logging.getLogger(__name__)

_Mode = Literal["online", "offline", "disabled"]

_INIT_SECONDS = 30.0
_FINISH_SECONDS = 20.0

# Send the recipe and the reports, and nothing that W&B would collect itself: no console output,
# code, git state or package list (environment.json has what matters), and no system metrics
# (`perf/…` and `system/…` have them; W&B's own would be lost when an offline run is rewritten).
SETTINGS = {
    "silent": True,
    "console": "off",
    "disable_code": True,
    "disable_git": True,
    "disable_job_creation": True,
    "save_code": False,
    "x_disable_meta": True,
    "x_disable_machine_info": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
    "init_timeout": _INIT_SECONDS,
    "finish_timeout": _FINISH_SECONDS,
}


class Wandb(RecipeTracker):
    """A W&B run whose history has one row per step, in the order of steps.

    W&B cannot delete points, and accepts rows only in the order of `_operation`, which is the
    training step. Offline, every start rewrites the whole run from metrics.jsonl and removes the
    folders of earlier starts, so that a single folder reads like one run. Online, W&B keeps its
    points and receives the missing ones: points past the checkpoint stay, and the same steps are
    not sent again.
    """

    KEY = "wandb"
    PACKAGE = "wandb"
    INSTALL = "pip install wandb"
    WAITS_FOR_NETWORK = True

    def __init__(self, recipe: Recipe, folder: Path, history: History) -> None:
        block = recipe.tracking.wandb
        assert block is not None, "the tracker runs only with its block"
        self._recipe = recipe
        self._committed = -1
        self._alerts = block.alerts
        self._with_best: set[str] = set()
        mode: _Mode = _mode()
        run_id = trial_id() or own_run_id(folder / "wandb_run.json")
        if mode == "online":
            try:
                self._run = _init(block, recipe, folder, run_id, "online")
            except Exception as error:
                logger.warning("W&B cannot be reached; the run is recorded offline: %s", error)
                _forget_failed_start()
                mode = "offline"
        if mode != "online":
            self._run = _init(block, recipe, folder, run_id, mode)
        self._run.define_metric("step", hidden=True)
        self._run.define_metric("*", step_metric="step")
        # W&B has the steps below this one: offline none, online those of earlier starts.
        self._first: int = self._run.starting_step
        rows: dict[int, dict[str, float]] = {}
        for step, values in history.reports:
            rows.setdefault(step, {}).update(values)
        samples = {record.step: record for record in history.samples}
        for step, row in rows.items():
            if step in samples:
                self.log_samples(samples[step])
            self._send(row, step, commit=True)
        if mode == "disabled":
            return
        here = Path(self._run.dir).parent
        # The last `*` matches the number that W&B adds if two folders start in the same second.
        for other in here.parent.glob(f"offline-run-*-{run_id}*"):
            if other.name != here.name:
                try:
                    remove_folder(other, WANDB_RUN)
                except (OSError, UserError) as error:
                    logger.warning("the W&B folder of an earlier start stays on disk: %s", error)
        if mode == "offline":
            logger.info("W&B is offline; to send the run: wandb sync %s", here)
        else:
            logger.info("W&B: %s", self._run.url)
            if self._first > 1 + max(rows, default=0):
                logger.info("W&B already has points up to step %d and keeps them", self._first - 1)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Add a report. The training and evaluation reports of one step share a row."""
        evaluation = not any(name.startswith("train/") for name in values)
        self._send(values, step, commit=evaluation or not self._evaluation_may_follow(step))

    def _send(self, values: Mapping[str, float], step: int, *, commit: bool) -> None:
        if step < self._first:
            return
        self._keep_best(values)
        # A committed row cannot be extended, so the report gets its own row, which is still
        # plotted at the right `step`.
        own = None if step == self._committed else step
        self._run.log({**values, "step": step}, step=own, commit=commit)
        if commit:
            self._committed = step

    def log_samples(self, record: SampleRecord) -> None:
        """Add a table to the row of the step, which an evaluation completes."""
        if record.step < self._first:
            return
        import wandb

        table = wandb.Table(columns=["step", *TABLE_COLUMNS])
        for row in table_rows(record):
            table.add_data(record.step, *row)
        values = {f"{SAMPLES}/{record.evaluation}": table, "step": record.step}
        self._run.log(values, step=record.step, commit=False)

    def _keep_best(self, names: Iterable[str]) -> None:
        """Let W&B's summary have the best value beside the last one: `eval/loss.min`."""
        for name in set(names) - self._with_best:
            self._with_best.add(name)
            best = best_of(name, self._recipe.objective)
            if best is None:
                continue
            self._run.define_metric(name, step_metric="step", summary=f"{best},last")

    def _evaluation_may_follow(self, step: int) -> bool:
        """Whether to hold back a row for an evaluation; without one, it shows with the next row."""
        tracking = self._recipe.tracking
        last = step == self._recipe.train.steps or step % tracking.log_every != 0
        evaluated = bool(self._recipe.data.training_evaluation_names)
        return evaluated and (last or step % tracking.evaluate_every == 0)

    def alert(self, title: str, text: str, *, is_error: bool) -> None:
        """Send an alert, which W&B forwards by mail or Slack as the user has chosen there."""
        if self._alerts:
            self._run.alert(title=title, text=text, level="ERROR" if is_error else "INFO")

    def close(self, state: EndState) -> None:
        """End the run; online, wait until everything is sent or `finish_timeout` has passed."""
        self._run.finish(exit_code=EXIT_FAULT if state == "failed" else EXIT_DONE)


def _init(block: WandbBlock, recipe: Recipe, folder: Path, run_id: str, mode: _Mode) -> Any:
    import wandb

    known = wandb.Settings.model_fields
    return wandb.init(
        project=block.project,
        entity=block.entity,
        name=recipe.name,
        group=block.group or recipe.origin.family or recipe.objective.type,
        job_type=block.job_type or ("pretrain" if recipe.start is None else "finetune"),
        tags=block.tags,
        notes=block.notes,
        id=run_id,
        # An offline run is complete: syncing it replaces the data that W&B has under this id.
        resume="allow" if mode == "online" else None,
        dir=str(folder),
        config=with_shown_urls(recipe.model_dump(mode="json")),
        mode=mode,
        # Not W&B's global run, which belongs to the program that uses ptm as a library.
        reinit="create_new",
        settings=wandb.Settings(**{k: v for k, v in SETTINGS.items() if k in known}),
    )


def _mode() -> _Mode:
    """The mode that the user has chosen; online becomes offline if no API key is configured.

    Does not prompt for a key, and does not verify it, which would need the network.
    """
    import wandb

    mode = wandb.setup(wandb.Settings(silent=True)).settings.mode
    if mode == "disabled":
        return "disabled"
    if mode in ("offline", "dryrun"):
        return "offline"
    try:
        return "online" if wandb.login(prompt=False, verify=False) else "offline"
    except Exception as error:
        logger.warning("W&B login failed; the run is recorded offline: %s", error)
        return "offline"


def _forget_failed_start() -> None:
    """Restart W&B's service, which reserves the id of a run whose start failed."""
    import wandb

    wandb.teardown()
    wandb.setup(wandb.Settings(silent=True))
