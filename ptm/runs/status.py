"""The state of a run, read from its folder: running, stopped, died or done."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

from ptm.checkpoint.format import checkpoint_folders, step_of
from ptm.errors import EXIT_DONE, STOPPED_CODES, UserError
from ptm.files.reading import MEGABYTE, FileContentError, read_text
from ptm.rank_status import RankStatus, parse_status
from ptm.recipe.saved_files import RECIPE, read_environment, read_metrics, read_recipe_data

State = Literal["running", "stopped", "died", "done", "damaged"]

_RANK_FILES = "ranks/rank*.json"
_SECONDS_WITHOUT_SIGN = 600.0
"""A rank of another host that has written nothing for so long counts as dead."""


@dataclass(frozen=True)
class RunStatus:
    """What the files of a run say about it."""

    path: Path
    state: State
    reason: str = ""
    """Why it died or is damaged."""
    step: int = 0
    steps: int | None = None
    """Steps of the whole run; None if its recipe counts epochs and no rank has written them."""
    saved_step: int | None = None
    """Step of the newest checkpoint."""
    losses: Mapping[str, float] | None = None
    """Split -> its last loss."""
    tokens_per_second: float | None = None
    """Of the last report."""
    last_activity: float | None = None
    """When a rank or a report wrote last, in seconds since the epoch."""
    started: float | None = None
    """When the run was first started."""
    recipe: str = ""
    """Objective and encoder in a few words."""

    @property
    def share(self) -> float | None:
        """Share of the steps that are done; None if their number is unknown."""
        return self.step / self.steps if self.steps else None


def run_statuses(folder: Path) -> list[RunStatus]:
    """The runs in a folder, the one that was started last at the end.

    Raises UserError if `folder` is not a folder.
    """
    if not folder.is_dir():
        raise UserError(f'"{folder}" is not a folder of runs.')
    # A damaged run may have a dangling link in place of its recipe.
    recipes = [path / RECIPE for path in folder.iterdir() if os.path.lexists(path / RECIPE)]
    return [run_status(path.parent) for path in sorted(recipes, key=lambda p: p.lstat().st_mtime)]


def run_status(run: Path) -> RunStatus:
    """The state of one run. Never raises: a damaged run says what is damaged."""
    try:
        data = read_recipe_data(run / RECIPE)
        train, damage = data["train"], list[str]()
        records = read_metrics(run, damage=damage)
        read_environment(run, damage=damage)
        steps = train["steps"] if isinstance(train["steps"], int) else None
        recipe = _in_words(data)
        ranks = read_ranks(run)
        # Epochs have a number of steps only once the store was read.
        steps = next((rank.steps for rank in ranks if rank.steps is not None), steps)
    except UserError as error:
        return RunStatus(run, "damaged", reason=str(error))
    except (KeyError, TypeError) as error:
        return RunStatus(run, "damaged", reason=f"{run / RECIPE}: the file is damaged ({error})")
    newest = checkpoint_folders(run / "checkpoints")
    step = max([record["step"] for record in records[-1:]] + [rank.step for rank in ranks] + [0])
    state, reason = _state(ranks, is_complete=steps is not None and step >= steps)
    if damage:
        state, reason = "damaged", damage[0]
    speeds = [record["tokens_per_second"] for record in records if "tokens_per_second" in record]
    return RunStatus(
        run,
        state,
        reason,
        step=step,
        steps=steps,
        saved_step=step_of(newest[0]) if newest else None,
        losses={
            record["split"]: record["loss"] for record in records if record["loss"] is not None
        },
        tokens_per_second=speeds[-1] if speeds else None,
        last_activity=_last_activity(run, ranks),
        started=_modified(run / ".ptm-folder"),
        recipe=recipe,
    )


def read_ranks(run: Path) -> list[RankStatus]:
    """The status of each rank of the last start. Raises UserError if a file is damaged."""
    found = []
    for path in sorted(run.glob(_RANK_FILES)):
        try:
            found.append(parse_status(read_text(path, limit=MEGABYTE))[0])
        except FileNotFoundError:
            # A start that is under way removes the files of the last one.
            continue
        except (OSError, FileContentError, ValueError) as error:
            raise UserError(f"{path}: the file is damaged.") from error
    return found


def _state(ranks: Sequence[RankStatus], *, is_complete: bool) -> tuple[State, str]:
    """The state, and why the run died."""
    if not ranks:
        return ("done" if is_complete else "stopped"), ""
    for rank in ranks:
        # A rank that Ctrl-C ended before it could save has EXIT_FAULT and the exception.
        if rank.code not in (None, EXIT_DONE, *STOPPED_CODES):
            return "died", f"rank {rank.rank} on {rank.host}: {rank.error or f'exit {rank.code}'}"
    open_ranks = [rank for rank in ranks if rank.code is None]
    for rank in open_ranks:
        if not _is_alive(rank):
            return (
                "died",
                f"rank {rank.rank} on {rank.host} ended without an exit code; "
                "it was probably killed",
            )
    if open_ranks:
        return "running", ""
    return ("stopped" if any(rank.code in STOPPED_CODES for rank in ranks) else "done"), ""


def _is_alive(rank: RankStatus) -> bool:
    if rank.host != socket.gethostname():
        return time.time() - rank.time < _SECONDS_WITHOUT_SIGN
    try:
        # A process that was started after the file was written has got the number of a dead one.
        return bool(psutil.Process(rank.pid).create_time() <= rank.time)
    except psutil.Error:
        return False


def _last_activity(run: Path, ranks: Sequence[RankStatus]) -> float | None:
    times = [rank.time for rank in ranks]
    reports = _modified(run / "metrics.jsonl")
    return max([*times, *([reports] if reports is not None else [])], default=None)


def _modified(path: Path) -> float | None:
    try:
        return path.lstat().st_mtime
    except OSError:
        return None


def _in_words(data: Mapping[str, Any]) -> str:
    """Objective, encoder and size: `mlm · transformer 12 x 768`."""
    encoder = data["model"].get("encoder") or {}
    size = [str(encoder[key]) for key in ("layers", "hidden_size") if encoder.get(key)]
    words = [str(encoder.get("type", "")), " x ".join(size)]
    return f"{data['objective']['type']} · {' '.join(word for word in words if word)}"
