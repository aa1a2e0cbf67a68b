"""Filled cells, CPU time and peak memory of encoder-decoders, with both sides packed apart.

python benchmarks/pairs.py RECIPE [KEY=VALUE ...] [--steps 3] [--repeats 3] [--rows-only]

Compares the rows in which source and target of an example are side by side with rows of their own
for either side: forward and backward passes over the same examples on a CPU, one thread, each way
in processes of its own, in turn. `cpu s` is user and system time per step. `--rows-only`: only
count rows and cells.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from ptm.data.placement import DECODER_EXAMPLE_IDS, EXAMPLE_IDS
from ptm.loading.batches import StepBatch, step_batch
from ptm.loading.rows import TRAIN, PackedDataset, open_rows
from ptm.model.build import build_plan
from ptm.model.initial_weights import initialise
from ptm.model.plain_model import empty_model
from ptm.nn.attention_choice import prepare_attention
from ptm.recipe import Recipe, load_recipe

WAYS = ("together", "apart")


def batch_of(rows: PackedDataset, recipe: Recipe, step: int, *, apart: bool) -> StepBatch:
    size, first = recipe.train.global_batch_size, step * recipe.train.global_batch_size
    positions = np.arange(first, first + size, dtype=np.int64)
    parts = rows.micro_batches(positions, size=recipe.train.micro_batch_size)
    return step_batch(parts, rows.objective, apart=apart)


def cells(batches: list[StepBatch]) -> dict[str, float]:
    found = {}
    tensors = [one for batch in batches for one in batch.micro_batches]
    for side, name in (("source", EXAMPLE_IDS), ("target", DECODER_EXAMPLE_IDS)):
        ids = torch.cat([one[name].flatten() for one in tensors])
        found[f"{side}_rows"] = sum(len(one[name]) for one in tensors) / len(batches)
        found[f"{side}_filled"] = float((ids > 0).double().mean())
    return found


def status(key: str) -> int:
    """A memory line of /proc/self/status, in MB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(f"{key}:"))


def measure(recipe: Recipe, way: str, *, steps: int, rows_only: bool) -> dict[str, float]:
    rows = open_rows(recipe, recipe.tokenizer.load(), split=TRAIN)
    apart = way == "apart"
    batches = [batch_of(rows, recipe, step, apart=apart) for step in range(steps + 1)]
    found = cells(batches[1:])
    if rows_only:
        return found
    plan = build_plan(
        recipe.model,
        rows.objective,
        vocabulary_size=rows.vocabularies.source.size,
        target_vocabulary_size=rows.vocabularies.target.size,
        sides_apart=apart,
    )
    model = empty_model(plan).train()
    initialise(model, recipe.model, seed=recipe.seed)
    packed = prepare_attention(model, "sdpa")
    loss = rows.objective.metrics[0]

    def run(batch: StepBatch) -> None:
        packed.shape = batch.packed_shape
        for tensors in batch.micro_batches:
            sums = rows.objective.metric_sums(model(tensors), tensors)
            (sums[loss.name] / batch.counts[loss.count]).backward()
        model.zero_grad()

    run(batches[0])
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = resource.getrusage(resource.RUSAGE_SELF)
    for batch in batches[1:]:
        run(batch)
    after = resource.getrusage(resource.RUSAGE_SELF)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {**found, "cpu_seconds": spent / steps, "peak_mb": status("VmHWM")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows-only", action="store_true")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parsed = parser.parse_intermixed_args()
    if parsed.way is not None:
        torch.set_num_threads(1)
        recipe = load_recipe(parsed.recipe, parsed.overrides)
        print(
            json.dumps(measure(recipe, parsed.way, steps=parsed.steps, rows_only=parsed.rows_only))
        )
        return
    repeats = 1 if parsed.rows_only else parsed.repeats
    measured: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(repeats):
        for way in WAYS:
            command = [sys.executable, __file__, *sys.argv[1:], "--way", way]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            measured[way].append(json.loads(output))
    for way, several in measured.items():
        medians = {key: statistics.median(one[key] for one in several) for key in several[0]}
        print(
            f"{way:<9} source {medians['source_rows']:6.1f} rows per step,"
            f" {100 * medians['source_filled']:5.1f} % filled; target"
            f" {medians['target_rows']:6.1f} rows, {100 * medians['target_filled']:5.1f} % filled"
            + (
                ""
                if parsed.rows_only
                else f"; {medians['cpu_seconds']:.3f} cpu s; peak {medians['peak_mb']:.0f} MB"
            )
        )


if __name__ == "__main__":
    main()
