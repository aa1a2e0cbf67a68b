"""Losses of small models on the GPU beside those of the CPU: same weights, rows and updates.

python -m benchmarks.gpu.equality FILE [--dry-run]     (the CPU's side; the section starts it)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from benchmarks.gpu.figures import FAILED, Bench
from benchmarks.gpu.timing import free_memory
from benchmarks.gpu.training import start_training

Precision = Literal["fp32", "bf16", "fp16"]

STEPS = 5
_ROOT = Path(__file__).parents[2]
_VOCABULARY = 1000
_LEARNING_RATE = 1e-3
_RECIPES = ("roberta/tiny.yaml", "gpt2/tiny.yaml", "modernbert/tiny.yaml", "t5/tiny.yaml")
_PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "fp16")
_LIMITS: dict[Precision, float] = {"fp32": 1e-4, "bf16": 1e-2, "fp16": 1e-2}
"""Accepted differences from the CPU's losses in fp32. Adam's first updates are as large for small
gradients as for large ones, which enlarges differences of rounding."""


@dataclass(frozen=True)
class Case:
    recipe: str
    precision: Precision = "fp32"
    deepspeed: str = "zero1"
    attention: str = "sdpa"

    @property
    def names(self) -> dict[str, str]:
        """What identifies the case in a table."""
        return {
            "recipe": self.recipe,
            "precision": self.precision,
            "engine": self.deepspeed,
            "attention": self.attention,
        }


def losses(case: Case, *, dry: bool) -> list[float]:
    """The losses of five steps without dropout, products of fp32 without TF32."""
    rows, columns = (4, 64) if dry else (16, 128)
    training = start_training(
        case.recipe,
        [
            *("model.dropout=0.0", f"data.sequence_length={columns}"),
            *(f"train.global_batch_size={rows}", f"train.micro_batch_size={rows // 2}"),
            f"engine.precision={case.precision}",
            f"engine.deepspeed={case.deepspeed}",
            f"engine.attention={case.attention}",
            # Of the first steps, none overflows.
            "engine.loss_scale.initial_power=8",
        ],
        texts="short",
        vocabulary_size=_VOCABULARY,
        batches=STEPS,
    )
    # Starting has set "high", as for a training.
    torch.set_float32_matmul_precision("highest")
    with closing(training):
        return [training.step(number, learning_rate=_LEARNING_RATE).loss for number in range(STEPS)]


def difference(found: Sequence[float], expected: Sequence[float]) -> float:
    """The largest relative difference."""
    return max(abs(one - other) / abs(other) for one, other in zip(found, expected, strict=True))


def cases(*, dry: bool) -> Iterator[Case]:
    """The cases of the GPU; with `dry`, some that a CPU can run."""
    if dry:
        yield Case(_RECIPES[0], deepspeed="zero3")
        yield Case(_RECIPES[0], "bf16", deepspeed="zero2")
        return
    for recipe in _RECIPES:
        for precision in _PRECISIONS:
            yield Case(recipe, precision)
            if precision != "fp32":
                yield Case(recipe, precision, attention="varlen")
    for precision in _PRECISIONS:
        for deepspeed in ("zero0", "zero2", "zero3"):
            yield Case(_RECIPES[0], precision, deepspeed, "auto")


def run(bench: Bench) -> None:
    expected = losses_of_the_cpu(bench)
    for case in cases(dry=bench.dry):
        if not bench.may_run("equality", **case.names):
            continue
        with bench.case("equality", **case.names):
            found = losses(case, dry=bench.dry)
            of_fp32 = expected[_key(Case(case.recipe))]
            of_same = expected[_key(Case(case.recipe, case.precision))]
            bench.record("equality", **case.names, **in_columns(case, found, of_fp32, of_same))
        free_memory()


def in_columns(
    case: Case, found: Sequence[float], of_fp32: Sequence[float], of_same: Sequence[float]
) -> dict[str, object]:
    """The columns of a table; `of_fp32`, `of_same`: losses of the CPU, by precision."""
    columns: dict[str, object] = {
        "losses": " ".join(f"{loss:.5f}" for loss in found),
        "difference from the CPU in fp32": difference(found, of_fp32),
        "in the same precision": difference(found, of_same),
    }
    limit = _LIMITS[case.precision]
    if not difference(found, of_fp32) < limit:
        columns[FAILED] = f"differs by more than {limit}"
    return columns


def losses_of_the_cpu(bench: Bench) -> dict[str, list[float]]:
    """Losses at ZeRO 1 of each recipe in each precision, by `_key`, from a process without GPU."""
    file = bench.folder / "losses-of-the-cpu.json"
    command = [sys.executable, "-m", "benchmarks.gpu.equality", str(file)]
    hidden = {"CUDA_VISIBLE_DEVICES": "", "DS_ACCELERATOR": "cpu"}
    subprocess.run(
        [*command, *(["--dry-run"] if bench.dry else [])],
        cwd=_ROOT,
        env={**os.environ, **hidden},
        check=True,
    )
    found: dict[str, list[float]] = json.loads(file.read_text(encoding="utf-8"))
    file.unlink()
    return found


def _key(case: Case) -> str:
    return f"{case.recipe} {case.precision}"


def main(arguments: Sequence[str]) -> None:
    """Write the CPU's losses to the file that is named."""
    dry = "--dry-run" in arguments
    recipes = _RECIPES[:1] if dry else _RECIPES
    precisions = _PRECISIONS[:2] if dry else _PRECISIONS
    every = [Case(recipe, precision) for recipe in recipes for precision in precisions]
    found = {_key(case): losses(case, dry=dry) for case in every}
    Path(arguments[0]).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
