"""The head of a run's page: what was trained, how long, where, with which result and command."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptm.durations import clock
from ptm.errors import UserError
from ptm.files.reading import MEGABYTE, FileContentError, read_text
from ptm.recipe import Recipe, recipe_from_data
from ptm.recipe.data_block import metric_key
from ptm.recipe.saved_files import RECIPE, Environment, read_environment, read_recipe_data
from ptm.runs.page.data import nearly_equal
from ptm.runs.status import RunStatus

_LOG_BYTES = 64 * MEGABYTE
_PARAMETERS = re.compile(r": ([\d,]+) parameters")
_ENGINE = re.compile(r" engine: (.+)")
_ROWS_PER_EPOCH = re.compile(r"data: ([\d,]+) rows per epoch \(([\d.]+) % real tokens\)")
_COUNTS = {"step", "split", "epoch", "rows", "examples", "tokens"}
_TRAIN = "train"


@dataclass(frozen=True)
class LogFacts:
    """What the last start of a run logged about itself; None where the log does not have it."""

    parameters: str | None = None
    engine: str | None = None
    rows_per_epoch: int | None = None
    fill: float | None = None
    """Share of the cells of the rows that hold tokens."""


def log_facts(run: Path) -> LogFacts:
    """Read train.log. Never raises: a log that cannot be read has no facts."""
    try:
        text = read_text(run / "train.log", limit=_LOG_BYTES)
    except (OSError, FileContentError):
        return LogFacts()
    parameters, engines = _PARAMETERS.findall(text), _ENGINE.findall(text)
    rows = _ROWS_PER_EPOCH.findall(text)
    return LogFacts(
        parameters=parameters[-1] if parameters else None,
        engine=engines[-1] if engines else None,
        rows_per_epoch=int(rows[-1][0].replace(",", "")) if rows else None,
        fill=float(rows[-1][1]) / 100 if rows else None,
    )


def headline(status: RunStatus, records: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """The lines of the head: a name and a text each. A damaged environment.json is left out."""
    facts = log_facts(status.path)
    environment = read_environment(status.path, damage=[])
    lines = [
        ("What", " · ".join(_what(status, facts))),
        ("How long", " · ".join(_how_long(status, records))),
        ("Where", " · ".join(_where(environment, facts))),
        ("Result", _result(status.path, records)),
        ("Command", command_of(status.path, environment)),
    ]
    return [(name, text) for name, text in lines if text]


def summary(status: RunStatus, records: Sequence[Mapping[str, Any]]) -> str:
    """One run of several, on one line."""
    facts = log_facts(status.path)
    parts = [status.state, *_what(status, facts), *_how_long(status, records)]
    parts.append(_result(status.path, records))
    return " · ".join(part for part in parts if part)


def _what(status: RunStatus, facts: LogFacts) -> Iterator[str]:
    yield status.recipe
    if facts.parameters is not None:
        yield f"{facts.parameters} parameters"


def _how_long(status: RunStatus, records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield f"{status.step:,}" + (f" of {status.steps:,}" if status.steps else "") + " steps"
    tokens = max(record.get("tokens", 0) for record in records)
    yield f"{tokens:,} tokens without padding"
    seconds = _training_seconds(records)
    if seconds:
        yield f"{clock(seconds)} in training steps"
        yield f"{tokens / seconds:,.0f} tokens per second on average"


def _where(environment: Environment | None, facts: LogFacts) -> Iterator[str]:
    if environment is not None:
        yield ", ".join(environment.hosts)
    if facts.engine is not None:
        yield facts.engine
    if environment is not None:
        yield f"last start {environment.time[:16].replace('T', ' ')}"


def _result(run: Path, records: Sequence[Mapping[str, Any]]) -> str:
    """The metric that chooses the best checkpoint, if there is one, and the loss."""
    splits = dict.fromkeys(record["split"] for record in records if record["loss"] is not None)
    # An evaluation set comes before the training.
    split = min(splits, key=lambda one: one == _TRAIN, default=None)
    recipe = _recipe_of(run)
    rule = None if recipe is None else recipe.train.early_stopping
    metric = None if recipe is None else recipe.checkpoint.best or (rule.metric if rule else None)
    parts = []
    if recipe is not None and metric is not None:
        is_higher_better = recipe.objective.higher_is_better(metric)
        parts.append(_best_and_last(metric, records, is_higher_better=is_higher_better))
    if split is not None and not (any(parts) and metric == metric_key(split, "loss")):
        parts.append(_loss(split, records))
    return " · ".join(part for part in parts if part)


def _recipe_of(run: Path) -> Recipe | None:
    """The recipe of a run; None if a file that it names, such as a word list, is missing."""
    try:
        return recipe_from_data(read_recipe_data(run / RECIPE), Recipe, name=str(run / RECIPE))
    except UserError:
        return None


def _best_and_last(
    metric: str, records: Sequence[Mapping[str, Any]], *, is_higher_better: bool
) -> str:
    """The best and the last value of a metric such as `dev/accuracy`; empty if it has no values."""
    name = metric.rpartition("/")[2]
    found = [
        (float(record[name]), record["step"], record["split"])
        for record in records
        # The evaluation before the first step chooses no checkpoint.
        if metric_key(record["split"], name) == metric
        and record["step"]
        and _is_finite(record.get(name))
    ]
    if not found:
        return ""
    choose = max if is_higher_better else min
    # Of equal values the first one counts, as in the training.
    best, step, split = choose(found, key=lambda one: one[0])
    last, last_step, _ = found[-1]
    text = f"best {split} {name.replace('_', ' ')} {number(best)} at step {step:,}"
    return text if last_step == step else f"{text}; last {number(last)} at step {last_step:,}"


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _loss(split: str, records: Sequence[Mapping[str, Any]]) -> str:
    """The last loss of a split, and the best one."""
    losses = [
        (r["loss"], r["step"]) for r in records if r["split"] == split and r["loss"] is not None
    ]
    (last, step), (best, best_step) = losses[-1], min(losses)
    text = f"{split} loss {number(last)} at step {step:,}"
    return text if best == last else f"{text}; best {number(best)} at step {best_step:,}"


def command_of(run: Path, environment: Environment | None) -> str:
    """The command that trains the same again, in one process or with as many ranks."""
    origin = None if environment is None else environment.recipe
    if origin is None:
        return f"ptm train {shlex.quote(str(run / RECIPE))} name=NAME"
    arguments = shlex.join([origin.file, *origin.overrides])
    ranks = sum(environment.hosts.values()) if environment is not None else 1
    if ranks == 1:
        return f"ptm train {arguments}"
    if environment is not None and len(environment.hosts) > 1:
        return f"ptm launch --hostfile HOSTFILE {arguments}"
    return f"ptm launch --num-gpus {ranks} {arguments}"


def _training_seconds(records: Sequence[Mapping[str, Any]]) -> float:
    """Seconds of all reported steps, without evaluations and saving."""
    total, before = 0.0, 0
    for record in records:
        if record["split"] == _TRAIN and "step_seconds" in record:
            total += (record["step"] - before) * record["step_seconds"]
            before = record["step"]
    return total


def last_values(records: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Loss and metrics of the last report of each split, with the first value before it."""
    cards: dict[str, str] = {}
    splits = dict.fromkeys(record["split"] for record in records)
    # Evaluations come first: they are the result.
    for split in sorted(splits, key=lambda one: one == _TRAIN):
        of_split = [record for record in records if record["split"] == split]
        first, last = of_split[0], of_split[-1]
        for key, value in last.items():
            # The only term of a loss repeats it.
            if not _is_result(key, split) or (
                key.endswith("_loss") and _is_same(value, last["loss"])
            ):
                continue
            name = f"{split} {key.replace('_', ' ')}"
            cards[name] = "not measured" if value is None else number(value)
            if value is not None and len(of_split) > 1 and isinstance(first.get(key), int | float):
                cards[name] = f"{number(first[key])} → {number(value)}"
    return cards


def _is_same(value: float | None, other: float | None) -> bool:
    if value is None or other is None:
        return value is other
    return nearly_equal(value, other)


def _is_result(key: str, split: str) -> bool:
    # An evaluation reports nothing but metrics, training also rates and times.
    return key not in _COUNTS and (split != _TRAIN or key.endswith(("loss", "accuracy")))


def number(value: float) -> str:
    """A metric for people: 4 decimals below 100, fewer above."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 1e4 else f"{value:.4f}" if size < 100 else f"{value:,.1f}"
