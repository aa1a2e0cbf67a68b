"""Started on every rank: one training after another in one process, as `launched.py` lists them.

A launcher, its imports and its process group are paid for once. DeepSpeed leaves the grid of its
pipelines behind, and what it has patched for ZeRO 3: so those come last.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ptm.cli.entry import log_to_console
from ptm.errors import TrainingError, UserError
from ptm.objectives.mlm import Mlm
from ptm.recipe import load_recipe
from ptm.train.distributed import leave_ranks
from ptm.train.engines.contract import Engine
from ptm.train.run import train

RANK = int(os.environ.get("RANK", "0"))
ASKED = min(1, int(os.environ.get("WORLD_SIZE", "1")) - 1)
"""The rank that is asked to stop: not the first, so that the others have to hear of it."""


def main(plan: Path) -> None:
    """Train everything that is listed in `plan`, and tell how each ended."""
    log_to_console(sys.stdout)
    for training in json.loads(plan.read_text(encoding="utf-8")):
        outcome = one(training)
        with plan.with_name(f"ended-{RANK}.jsonl").open("a", encoding="utf-8") as ended:
            ended.write(json.dumps(outcome) + "\n")
        if outcome["code"] is None:
            # The launcher ends the others, who may wait for this rank.
            sys.exit(1)
    leave_ranks()


def one(training: dict[str, Any]) -> dict[str, Any]:
    """One training: its exit code and the sentence of an error; no code where it broke."""
    undisturbed = disturb(*training["disturbed"]) if training["disturbed"] else lambda: None

    def ask(done: int) -> None:
        if RANK == ASKED and done == training["stop_at"]:
            os.kill(os.getpid(), signal.SIGTERM)

    recipe, *overrides = training["arguments"][RANK]
    try:
        code = train(lambda: load_recipe(recipe, overrides), fresh=False, on_step_begin=ask)
        return {"code": code, "said": ""}
    except (UserError, TrainingError) as error:
        return {"code": 2 if isinstance(error, UserError) else 1, "said": str(error)}
    except Exception:
        return {"code": None, "said": traceback.format_exc()}
    finally:
        undisturbed()


def disturb(at: int, factor: float) -> Callable[[], None]:
    """Multiply the loss of step `at` by `factor`, value and gradients; returns what undoes it."""
    train_step, sums = Engine.train_step, Mlm.sums
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
        Engine.train_step, Mlm.sums = train_step, sums  # type: ignore[method-assign]

    Engine.train_step, Mlm.sums = noted, disturbed  # type: ignore[method-assign]
    return undo


if __name__ == "__main__":
    main(Path(next(word for word in sys.argv[1:] if not word.startswith("--local_rank"))))
