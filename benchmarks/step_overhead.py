"""Processor milliseconds of a training step whose kernels cost next to nothing.

python benchmarks/step_overhead.py [--steps N] [--profile] [--tree FOLDER ...] [KEY=VALUE ...]

The model has 12 layers of width 32, the batch one row of 32 tokens, so nearly all of a step is
Python: the loop, DeepSpeed, and the calls of some thousand operations. Time is that of the training
thread, by one thread; figures are medians over the steps after the first fifth. Several source
trees (checkouts of the project) are measured in turn, each in processes of its own.
"""

from __future__ import annotations

import argparse
import cProfile
import itertools
import os
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
ROUNDS = 3
DATA = ("tokenizer.vocab=recipes/quickstart/vocab.txt", "data.held_out=0", "data.workers=1")
SMALL = (
    "model.encoder.layers=12",
    "model.encoder.hidden_size=32",
    "model.encoder.feed_forward_size=64",
    "model.dropout=0.1",
    "data.sequence_length=32",
    "train.global_batch_size=1",
    "train.micro_batch_size=1",
    "engine.deepspeed=zero0",
    "checkpoint.every=1000000",
    "tracking.log_every=100",
)


def measure(steps: int, overrides: list[str], *, profile: bool) -> float:
    """Train in this process; return the median of a step's milliseconds."""
    from ptm.recipe import load_recipe
    from ptm.train.run import train

    ended: list[float] = []
    profiler = cProfile.Profile()
    first = steps // 5

    def begin(step: int) -> None:
        ended.append(time.thread_time())
        if profile and step == first:
            profiler.enable()
        if profile and step == steps - 1:
            profiler.disable()

    recipe = str(Path("recipes/quickstart/roberta-tiny.yaml"))
    train(lambda: load_recipe(recipe, overrides), fresh=True, on_step_begin=begin)
    if profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(40)
    kept = ended[first:]
    return 1000 * statistics.median(b - a for a, b in itertools.pairwise(kept))


def in_tree(tree: Path, words: list[str]) -> str:
    """Run this script in a process that uses the sources in `tree`; return what it printed last."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        data = [*DATA, f"data.store={folder}/store", f"runs_dir={folder}/runs"]
        recipe = "recipes/quickstart/roberta-tiny.yaml"
        for command in (
            ["-m", "ptm", "preprocess", recipe, *data],
            [str(Path(__file__).resolve()), "--here", *words, *data],
        ):
            done = subprocess.run(
                [sys.executable, *command],
                cwd=tree,
                env=environment,
                text=True,
                capture_output=True,
                check=False,
            )
            if done.returncode:
                raise SystemExit(f"{tree}: {done.stderr or done.stdout}")
    return done.stdout


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--tree", type=Path, action="append")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    given = parser.parse_intermixed_args(words)
    if given.here:
        settings = [*SMALL, f"train.steps={given.steps}", *given.overrides]
        print(measure(given.steps, settings, profile=given.profile))
        return 0
    trees = given.tree or [PROJECT]
    options = [f"--steps={given.steps}", *(["--profile"] if given.profile else [])]
    found: dict[Path, list[float]] = {tree: [] for tree in trees}
    for _ in range(1 if given.profile else ROUNDS):
        for tree in trees:
            printed = in_tree(tree.resolve(), [*options, *given.overrides])
            if given.profile:
                print(printed)
            found[tree].append(float(printed.split()[-1]))
    for tree, figures in found.items():
        print(f"{tree}: {statistics.median(figures):.2f} ms per step ({sorted(figures)})")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
