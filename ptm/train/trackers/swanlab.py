"""SwanLab: one run over all starts, online if an API key is configured."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptm.errors import UserError
from ptm.files.kinds import SWANLAB_RUN
from ptm.files.ownership import remove_folder
from ptm.recipe import Recipe, with_shown_urls
from ptm.train.trackers.base import EndState, History, RecipeTracker
from ptm.train.trackers.best import BestValues
from ptm.train.trackers.run_id import own_run_id

logger = logging.getLogger(__name__)

_STATES = {"done": "success", "stopped": "aborted", "failed": "crashed"}

# Send the recipe and the reports, and nothing that SwanLab would collect itself.
SETTINGS = {
    "interactive": False,
    "probe": {
        "hardware": False,
        "runtime": False,
        "requirements": False,
        "git": False,
        "monitor": False,
    },
    "terminal": {"proxy_type": "none"},
}


class SwanLab(RecipeTracker):
    """A SwanLab run with the recipe as its config and the reports as its charts.

    Offline, every start rewrites the whole run from metrics.jsonl and removes the folders of
    earlier starts, so that a single folder reads like one run. Online, SwanLab resumes the run and
    skips the steps that it already has.
    """

    KEY = "swanlab"
    PACKAGE = "swanlab"
    WAITS_FOR_NETWORK = True

    def __init__(self, recipe: Recipe, folder: Path, history: History) -> None:
        self._best = BestValues(recipe.objective)
        self._error = "the training failed"
        run_id = own_run_id(folder / "swanlab_run.json")
        mode = _mode()
        self._run = _init(recipe, folder / "swanlog", run_id, mode)
        for step, values in history.reports:
            self.log(values, step)
        if mode in ("online", "disabled"):
            return
        here = Path(self._run.dir)
        logger.info("SwanLab is %s; to send the run: swanlab sync %s", mode, here)
        for other in here.parent.glob(f"run-*-{run_id}"):
            if other.name != here.name and re.fullmatch(r"run-[\d_-]+", other.name[: -len(run_id)]):
                _remove(other)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Add a report and the best values that it improves on."""
        self._run.log({**values, **self._best.update(values)}, step=step)

    def alert(self, title: str, text: str, *, is_error: bool) -> None:
        """Keep the text of an error for the end of the run. SwanLab has no notifications."""
        if is_error:
            self._error = text

    def close(self, state: EndState) -> None:
        """End the run with its state."""
        error = self._error if state == "failed" else None
        self._run.finish(_STATES[state], error=error)


def _init(recipe: Recipe, log_dir: Path, run_id: str, mode: str) -> Any:
    import swanlab

    block = recipe.tracking.swanlab
    assert block is not None, "the tracker runs only with its block"
    log_dir.mkdir(exist_ok=True)
    return swanlab.init(
        project=block.project,
        workspace=block.workspace,
        name=recipe.name,
        description=block.notes,
        job_type="pretrain" if recipe.start is None else "finetune",
        group=block.group or recipe.origin.family or recipe.objective.type,
        tags=list(block.tags),
        config=with_shown_urls(recipe.model_dump(mode="json")),
        id=run_id,
        resume="allow",
        mode=mode,
        log_dir=str(log_dir),
        settings=swanlab.Settings(**SETTINGS),
    )


def _mode() -> str:
    """The mode that the user has chosen; online becomes offline if no API key is configured."""
    import swanlab

    settings = swanlab.Settings()
    if settings.mode == "online" and settings.api_key is None:
        return "offline"
    return str(settings.mode)


def _remove(folder: Path) -> None:
    try:
        remove_folder(folder, SWANLAB_RUN)
    except (OSError, UserError) as error:
        logger.warning("the SwanLab folder of an earlier start stays on disk: %s", error)
