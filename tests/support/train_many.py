"""The program of each rank of a launch: one training after another, as `launched.py` lists them.

Ranks are forked from a process that has loaded this module (multiprocessing's forkserver), since
loading torch and DeepSpeed takes longer than most trainings. DeepSpeed leaves behind the grid of
its pipelines, and its patches for ZeRO 3, so these trainings come last.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ptm.cli.entry import log_to_console, main
from ptm.components.objectives.mlm import Mlm
from ptm.engines.base import Engine
from ptm.engines.ranks import destroy_process_group
from ptm.errors import TrainingError, UserError
from ptm.recipe import load_recipe
from ptm.train.run import train
from ptm.train.trainer import ignore_step
from tests.support.faults import stop_at_step
from tests.support.varlen import varlen_attention


def run_rank(
    plan: Path,
    log: Path,
    *,
    rank: int,
    world_size: int,
    environment: Mapping[str, str],
    folder: Path | None,
) -> None:
    """Run one rank: all trainings listed in `plan`; writes the outcome of each beside `plan`.

    If there are several ranks, `environment` has the variables of a launcher. Output goes to `log`.
    """
    if world_size > 1:
        os.environ.update(environment, RANK=str(rank), WORLD_SIZE=str(world_size))
    if folder is not None:
        os.chdir(folder)
    write_to(log)
    log_to_console(sys.stdout)
    # Not rank 0, so that the request has to reach the other ranks.
    gets_request = rank == min(1, world_size - 1)
    for training in json.loads(plan.read_text(encoding="utf-8")):
        recipe, *overrides = training["arguments"][rank]
        stop_at = training["stop_at"] if gets_request else None
        with varlen_attention() if training["varlen"] else nullcontext():
            outcome = one(recipe, overrides, stop_at=stop_at, disturbed=training["disturbed"])
        with plan.with_name(f"ended-{rank}.jsonl").open("a", encoding="utf-8") as ended:
            ended.write(json.dumps(outcome) + "\n")
        if outcome["code"] is None:
            # Other ranks may wait for this one: `launched.py` sees the exit code and kills them.
            sys.exit(1)
    destroy_process_group()


def run_command(words: Sequence[str], log: Path) -> None:
    """Run `ptm` with the arguments `words`, and exit with its exit code."""
    write_to(log)
    sys.exit(main(words))


def write_to(log: Path) -> None:
    """Redirect the output of this process, also that of torch's and DeepSpeed's C++, to a file."""
    with log.open("a", encoding="utf-8") as output:
        os.dup2(output.fileno(), sys.stdout.fileno())
        os.dup2(output.fileno(), sys.stderr.fileno())


def one(
    recipe: str, overrides: Sequence[str], *, stop_at: int | None, disturbed: Sequence[Any] | None
) -> dict[str, Any]:
    """Run one training; returns exit code and error message (no code for an unexpected error)."""
    undisturbed = disturb(*disturbed) if disturbed else lambda: None
    on_step_begin = ignore_step if stop_at is None else stop_at_step(stop_at)
    try:
        code = train(
            lambda: load_recipe(recipe, overrides), fresh=False, on_step_begin=on_step_begin
        )
        return {"code": code, "message": ""}
    except (UserError, TrainingError) as error:
        return {"code": 2 if isinstance(error, UserError) else 1, "message": str(error)}
    except Exception:
        return {"code": None, "message": traceback.format_exc()}
    finally:
        undisturbed()


def disturb(at: int, factor: float) -> Callable[[], None]:
    """Multiply loss and gradients of step `at` by `factor`; returns a function that undoes this."""
    train_step, sums = Engine.train_step, Mlm.metric_sums
    now = 0

    def noted(self: Any, *arguments: Any, step: int, **options: Any) -> Any:
        nonlocal now
        now = step + 1
        return train_step(self, *arguments, step=step, **options)

    def disturbed(self: Any, outputs: Any, tensors: Any) -> Any:
        found = sums(self, outputs, tensors)
        counts = now == at and found["mlm_loss"].requires_grad
        return {**found, "mlm_loss": found["mlm_loss"] * (factor if counts else 1.0)}

    def undo() -> None:
        Engine.train_step, Mlm.metric_sums = train_step, sums  # type: ignore[method-assign]

    Engine.train_step, Mlm.metric_sums = noted, disturbed  # type: ignore[method-assign]
    return undo
