"""Training on a CPU beside transformers' Trainer: real tokens per second and peak memory.

python benchmarks/cpu_training.py CORPUS VOCAB [--sizes tiny mini base base-bf16] [--rounds 5]
    [--seconds 170]

Runs of recipes/roberta and of benchmarks/hf_trainer.py alternate, each in a process of its own,
with rows of 128 tokens. The figures are medians over the rounds. A size ends after --seconds, even
if rounds are left, so tiny and mini together take less than six minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
TRAINER = PROJECT / "benchmarks" / "hf_trainer.py"
LENGTH = 128


@dataclass(frozen=True)
class Case:
    """A size of model: rows per step, and steps of a run of either side."""

    size: str
    batch: int
    steps: int
    trainer_steps: int
    precision: str = "fp32"


CASES = {
    "tiny": Case("tiny", 32, 40, 12),
    "mini": Case("mini", 32, 14, 7),
    "base": Case("base", 8, 8, 8),
    "base-bf16": Case("base", 8, 10, 10, "bf16"),
}


@dataclass(frozen=True)
class Figures:
    """Of one run: real tokens per second, and the peak resident memory in MB."""

    tokens: float
    peak: float


def train_here(recipe: str, overrides: list[str], steps: int) -> None:
    """Train in this process and print tokens per second and peak memory as JSON."""
    from ptm.recipe import load_recipe
    from ptm.train.run import train

    began: list[float] = []
    train(
        lambda: load_recipe(recipe, overrides),
        fresh=True,
        on_step_begin=lambda step: began.append(time.perf_counter()),
    )
    settings = load_recipe(recipe, overrides)
    records = (Path(settings.runs_dir) / settings.name / "metrics.jsonl").read_text("utf-8")
    tokens = json.loads(records.splitlines()[-1])["tokens"] / steps
    first = max(2, steps // 5)
    rate = tokens * (steps - 1 - first) / (began[-1] - began[first])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"tokens": rate, "peak": peak}))


def product(case: Case, data: list[str], seconds: float) -> Figures:
    """A run of the recipe in a process of its own."""
    settings = [
        *data,
        "data.held_out=0",
        f"data.sequence_length={LENGTH}",
        f"engine.precision={case.precision}",
        f"train.steps={case.steps}",
        f"train.global_batch_size={case.batch}",
        f"train.micro_batch_size={case.batch}",
        "checkpoint.every=1000000",
        f"tracking.log_every={case.steps}",
    ]
    recipe = str(PROJECT / "recipes" / "roberta" / f"{case.size}.yaml")
    with tempfile.TemporaryDirectory() as folder:
        words = ["--train", recipe, str(case.steps), *settings, f"runs_dir={folder}"]
        printed = output_of([str(Path(__file__).resolve()), *words], seconds)
    return Figures(**json.loads(printed.splitlines()[-1]))


def trainer(case: Case, corpus: str, vocab: str, seconds: float) -> Figures:
    """A run of transformers' Trainer in a process of its own."""
    words = [case.size, str(case.batch), str(case.trainer_steps), corpus, vocab]
    half = ["bf16"] if case.precision == "bf16" else []
    printed = output_of([str(TRAINER), *words, *half], seconds)
    found = re.search(r"([\d,]+) real tokens/s, peak ([\d,]+) MB", printed)
    assert found is not None, printed
    tokens, peak = (float(text.replace(",", "")) for text in found.groups())
    return Figures(tokens, peak)


def output_of(command: list[str], seconds: float) -> str:
    """What a Python program of this project prints, in a process of its own."""
    path = os.pathsep.join(filter(None, (str(PROJECT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, *command],
        env={**os.environ, "PYTHONPATH": path},
        text=True,
        capture_output=True,
        timeout=seconds,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr or done.stdout}")
    return done.stdout


def compare(
    name: str, corpus: str, vocab: str, data: list[str], *, rounds: int, limit: float
) -> str:
    """Alternate both sides; return a row of the table."""
    case, end = CASES[name], time.monotonic() + limit
    ours: list[Figures] = []
    theirs: list[Figures] = []
    longest = 0.0
    for _ in range(rounds):
        if ours and time.monotonic() + longest > end:
            break
        began = time.monotonic()
        ours.append(product(case, data, limit))
        theirs.append(trainer(case, corpus, vocab, limit))
        longest = max(longest, time.monotonic() - began)
    speed, other = (statistics.median(run.tokens for run in side) for side in (ours, theirs))
    peak, other_peak = (statistics.median(run.peak for run in side) for side in (ours, theirs))
    return (
        f"| {name}, {case.batch} rows | {len(ours)} | {speed:,.0f} | {other:,.0f} | "
        f"{speed / other:.2f} | {peak:,.0f} | {other_peak:,.0f} |"
    )


def main(words: list[str]) -> int:
    if words[:1] == ["--train"]:
        train_here(words[1], words[3:], int(words[2]))
        return 0
    parser = argparse.ArgumentParser()
    parser.add_argument("corpus")
    parser.add_argument("vocab")
    parser.add_argument("--sizes", nargs="+", choices=CASES, default=["tiny", "mini"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=170.0)
    given = parser.parse_args(words)
    corpus, vocab = (str(Path(path).resolve()) for path in (given.corpus, given.vocab))
    with tempfile.TemporaryDirectory() as folder:
        data = [f"data.corpus={corpus}", f"tokenizer.vocab={vocab}", f"data.store={folder}/store"]
        recipe = str(PROJECT / "recipes" / "roberta" / "tiny.yaml")
        output_of(["-m", "ptm", "preprocess", recipe, *data], seconds=600)
        print(
            "| size | rounds | ptm, real tokens/s | Trainer, real tokens/s | ratio | "
            "ptm, peak MB | Trainer, peak MB |\n|---|---|---|---|---|---|---|"
        )
        for name in given.sizes:
            limit = given.seconds
            print(compare(name, corpus, vocab, data, rounds=given.rounds, limit=limit), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
