"""MLflow: one run over all starts, on a server or in a database of this machine."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ptm.recipe import Recipe
from ptm.train.trackers.base import EndState, History, RecipeTracker
from ptm.train.trackers.best import BestValues
from ptm.train.trackers.flat_recipe import flat_recipe
from ptm.train.trackers.run_id import store_run_id, stored_run_id

logger = logging.getLogger(__name__)

_STATES = {"done": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
_SENT = "ptm.sent_step"
"""The tag with the last step that MLflow has received."""
_ALERT = "ptm.alert"
"""The tag with the last notification, as MLflow sends none."""

# Limits of MLflow's log_batch.
_MOST_METRICS = 1000
_MOST_PARAMS = 100
_MOST_TAGS = 100
_LONGEST_PARAM = 6000
_LONGEST_TAG = 5000


class Mlflow(RecipeTracker):
    """An MLflow run with the recipe as its parameters and the reports as its metrics.

    MLflow cannot delete points: those past the checkpoint of a killed start stay, and the same
    steps are not sent again. It cannot change parameters either: what a resumed run has changed is
    a tag with the key of the recipe.
    """

    KEY = "mlflow"
    PACKAGE = "mlflow"
    WAITS_FOR_NETWORK = True

    def __init__(self, recipe: Recipe, folder: Path, history: History) -> None:
        # The recipe and the reports are sent to the user's server, and nothing to anyone else.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow.tracking import MlflowClient

        # MLflow creates the tables of a new database and logs each migration.
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        uri = _uri(recipe)
        self._client = MlflowClient(tracking_uri=uri)
        self._best = BestValues(recipe.objective)
        run = self._continued(folder / "mlflow_run.json")
        if run is None:
            run = self._created(recipe)
            store_run_id(folder / "mlflow_run.json", run.info.run_id)
        self._id: str = run.info.run_id
        self._client.update_run(self._id, status="RUNNING")
        self._send_recipe(flat_recipe(recipe), run.data.params)
        self._sent = int(run.data.tags.get(_SENT, -1))
        self._send(history.reports)
        logger.info("MLflow: run %s in %s", self._id, uri)

    def _continued(self, kept: Path) -> Any:
        """The run of earlier starts; None if absent, or if MLflow does not have it."""
        from mlflow.exceptions import MlflowException

        found = stored_run_id(kept)
        if found is None:
            return None
        try:
            return self._client.get_run(found)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            logger.warning("MLflow does not have the run %s; a new run is started", found)
            return None

    def _created(self, recipe: Recipe) -> Any:
        block = recipe.tracking.mlflow
        assert block is not None, "the tracker runs only with its block"
        experiment = self._client.get_experiment_by_name(block.experiment)
        number = (
            experiment.experiment_id
            if experiment
            else self._client.create_experiment(block.experiment)
        )
        return self._client.create_run(number, run_name=recipe.name)

    def _send_recipe(self, wanted: Mapping[str, str], known: Mapping[str, str]) -> None:
        """Add the parameters that MLflow lacks, and tags for those that have changed."""
        from mlflow.entities import Param, RunTag

        params = {key: value[:_LONGEST_PARAM] for key, value in wanted.items()}
        new = [Param(key, value) for key, value in params.items() if key not in known]
        for start in range(0, len(new), _MOST_PARAMS):
            self._client.log_batch(self._id, params=new[start : start + _MOST_PARAMS])
        changed = [
            RunTag(key, value[:_LONGEST_TAG])
            for key, value in params.items()
            if key in known and known[key] != value
        ]
        for start in range(0, len(changed), _MOST_TAGS):
            self._client.log_batch(self._id, tags=changed[start : start + _MOST_TAGS])

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Send a report and the best values that it improves on."""
        self._send([(step, values)])

    def _send(self, reports: Iterable[tuple[int, Mapping[str, float]]]) -> None:
        """Send the reports past `self._sent`, which is the last step of earlier starts."""
        from mlflow.entities import Metric, RunTag

        now = int(1000 * time.time())
        metrics: list[Metric] = []
        for step, values in reports:
            improved = self._best.update(values)
            if step > self._sent:
                metrics += [Metric(k, v, now, step) for k, v in {**values, **improved}.items()]
        for start in range(0, len(metrics), _MOST_METRICS):
            batch = metrics[start : start + _MOST_METRICS]
            tag = RunTag(_SENT, str(batch[-1].step))
            self._client.log_batch(self._id, metrics=batch, tags=[tag])

    def alert(self, title: str, text: str, *, is_error: bool) -> None:
        """Set a tag to the notification."""
        self._client.set_tag(self._id, _ALERT, f"{title}: {text}"[:_LONGEST_TAG])

    def close(self, state: EndState) -> None:
        """Set the state of the run: a run that was stopped is KILLED until it is resumed."""
        self._client.set_terminated(self._id, _STATES[state])


def _uri(recipe: Recipe) -> str:
    """The recipe's server or database, that of the environment, or one in `runs_dir`."""
    block = recipe.tracking.mlflow
    assert block is not None, "the tracker runs only with its block"
    database = Path(recipe.runs_dir).absolute() / "mlflow.db"
    return block.uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{database}"
