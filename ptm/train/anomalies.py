"""Detect non-finite or spiking losses and gradient norms, and apply `train.anomalies`."""

from __future__ import annotations

import json
import logging
import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ptm.engines.base import StepResult
from ptm.errors import TrainingError
from ptm.recipe.blocks import AnomalyBlock
from ptm.recipe.saved_files import EVENTS
from ptm.train.line_file import LineFile
from ptm.train.run_folder import RunFolder
from ptm.train.saving.schedule import CheckpointManager

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Anomaly:
    """An anomalous `value` of `what` (the loss or the gradient norm).

    `mean` and `deviation`: of the window of previous steps; None if `value` is not finite.
    """

    what: str
    value: float
    mean: float | None = None
    deviation: float | None = None

    def __str__(self) -> str:
        if self.mean is None or self.deviation is None:
            return f"the {self.what} is {self.value:g}"
        sigmas = (self.value - self.mean) / self.deviation
        return (
            f"the {self.what} is {self.value:.4g}, {sigmas:.1f} standard deviations above the "
            f"mean {self.mean:.4g} of the previous steps"
        )


class AnomalyDetector:
    """Detects anomalies by comparing each step with a window of previous steps.

    The windows and the count of anomalies are saved in checkpoints.
    """

    def __init__(self, rule: AnomalyBlock, state: Mapping[str, Any] | None = None) -> None:
        self._rule = rule
        kept = state or {"loss": [], "gradient norm": [], "count": 0}
        self._windows = {
            name: deque[float](kept[name], maxlen=rule.window) for name in ("loss", "gradient norm")
        }
        self.count: int = kept["count"]

    @property
    def loss_limit(self) -> float:
        """Loss above which the engine skips a step; infinite unless the policy is `skip`."""
        return self._limit("loss") if self._rule.policy == "skip" else math.inf

    def _limit(self, name: str) -> float:
        window = self._windows[name]
        if self._rule.sigmas is None or len(window) < max(2, self._rule.window // 2):
            return math.inf
        return statistics.fmean(window) + self._rule.sigmas * _deviation(window)

    def check(
        self, *, loss: float | None, grad_norm: float | None, overflow: bool
    ) -> Anomaly | None:
        """Return the anomaly of a step, or None. An anomalous step does not enter the windows.

        `loss`: None if the batch had nothing to predict. `grad_norm`: None if no weight was
        updated. `overflow`: the gradients were not finite,
        except where fp16 is adjusting its loss scale.
        """
        found = None
        if loss is not None and not math.isfinite(loss):
            found = Anomaly("loss", loss)
        elif loss is not None and loss > self._limit("loss"):
            found = self._spike("loss", loss)
        elif overflow:
            found = Anomaly("gradient norm", math.inf)
        elif grad_norm is not None and grad_norm > self._limit("gradient norm"):
            found = self._spike("gradient norm", grad_norm)
        if found is not None:
            self.count += 1
            return found
        if loss is not None:
            self._windows["loss"].append(loss)
        if grad_norm is not None:
            self._windows["gradient norm"].append(grad_norm)
        return None

    def _spike(self, name: str, value: float) -> Anomaly:
        window = self._windows[name]
        return Anomaly(name, value, statistics.fmean(window), _deviation(window))

    @property
    def exhausted(self) -> bool:
        """Whether there were more anomalies than `train.anomalies.limit` allows."""
        return self.count > self._rule.limit

    def state(self) -> dict[str, Any]:
        """State for the checkpoint."""
        windows = {name: list(window) for name, window in self._windows.items()}
        return {**windows, "count": self.count}


def _deviation(window: Sequence[float]) -> float:
    # With a floor, as in a window of equal values any other value would be a spike.
    mean = abs(statistics.fmean(window))
    return max(statistics.pstdev(window), 1e-3 * mean, 1e-12)


def event_line(anomaly: Anomaly, *, step: int, action: str, batch: Mapping[str, Any]) -> str:
    """An anomaly as a line of events.jsonl."""
    seen = {key: _plain(value) for key, value in asdict(anomaly).items()}
    event = {"time": time.time(), "step": step, "action": action, **seen, **batch}
    return json.dumps(event, ensure_ascii=False)


def _plain(value: Any) -> Any:
    """A non-finite float as a string, since JSON cannot represent it."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


class AnomalyPolicy:
    """Checks every step; logs an anomaly, then skips the step, rolls back, or ends the training."""

    def __init__(
        self,
        rule: AnomalyBlock,
        folder: RunFolder,
        checkpoints: CheckpointManager,
        *,
        fp16: bool,
        first: bool,
        alert: Callable[[str, str], None] = lambda title, text: None,
    ) -> None:
        """`fp16`: overflows are not anomalies. `first`: whether this rank writes the events.

        `alert` is called with the title and text of each anomaly that the training survives.
        """
        self._alert = alert
        self._rule = rule
        self._fp16 = fp16
        self._events = LineFile(folder.path / EVENTS)
        self._checkpoints = checkpoints
        self._first = first
        self._detector = AnomalyDetector(self._rule)

    def resume(self, state: Mapping[str, Any]) -> None:
        """Restore the state that a checkpoint saved."""
        self._detector = AnomalyDetector(self._rule, state)

    def state(self) -> dict[str, Any]:
        """State for the checkpoint."""
        return self._detector.state()

    def close(self) -> None:
        """Close events.jsonl."""
        self._events.close()

    @property
    def loss_limit(self) -> float:
        """Loss above which the engine skips a step; infinite unless the policy is `skip`."""
        return self._detector.loss_limit

    def should_roll_back(
        self, result: StepResult, *, step: int, rows: Callable[[], Mapping[str, Any]]
    ) -> bool:
        """Check the `step` that was just done; return whether to roll back to a checkpoint.

        `rows` returns a description of the step's rows. Raises TrainingError if the anomaly ends
        the training.
        """
        anomaly = self._detector.check(
            loss=None if "loss" in result.unmeasured else result.loss,
            grad_norm=None if result.skipped else result.grad_norm,
            overflow=result.skipped and not self._fp16,
        )
        if anomaly is None:
            return False
        action = "stop" if self._detector.exhausted else self._rule.policy
        if self._first:
            self._events.append(event_line(anomaly, step=step, action=action, batch=rows()))
        what = f"step {step}: {anomaly} (see {self._events.path} for its examples)"
        if action != "stop":
            self._alert(f"anomaly at step {step}", f"{anomaly}; policy: {action}")
        if action == "rollback":
            logger.warning("%s", what)
        elif action == "skip":
            logger.warning("%s; %s", what, "step skipped" if result.skipped else "step not skipped")
        else:
            raise TrainingError(f"{what}. {self._advice()}")
        return action == "rollback"

    def _advice(self) -> str:
        """Advice for the user after an anomaly has ended the training."""
        self._checkpoints.finish()
        saved = self._checkpoints.saved_step
        there = "There is no checkpoint yet" if saved is None else f"Step {saved} is saved"
        if self._detector.exhausted:
            return (
                f"{there}. This was anomaly {self._detector.count}, and train.anomalies.limit is "
                f"{self._rule.limit}. Raise the limit, or lower optimizer.learning_rate, which may "
                "be too high."
            )
        if saved is None:
            return (
                f"{there}. This early, the usual cause is too large a learning rate: start from "
                "scratch with a lower optimizer.learning_rate or a longer schedule.warmup."
            )
        return (
            f"{there}. To continue past the anomaly, run again with train.anomalies.policy=skip "
            "or =rollback, or start from scratch with a lower optimizer.learning_rate."
        )
