"""Measure `ptm preprocess` as a whole command: processor time, peak memory, size of the store.

python benchmarks/preprocessing.py CORPUS VOCAB [--layout documents] [--words rjieba]
    [--merges merges.txt] [--workers 1 ...] [--copies 1] [--runs 3] [--tree FOLDER ...]

VOCAB is that of a WordPiece tokenizer, or with --merges of a byte-level BPE.

Runs the command in processes of its own, start-up included. With several `--tree` (folders with a
`ptm` package, such as git worktrees) and numbers of workers the runs alternate. Prints a table row
for each, with the least times of the runs; the columns are those of `HEADER`. MB are 10^6 bytes of
the corpus, as plain text.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parents[1]
COMMAND = """
import resource
import sys
from ptm.cli.program import run_program

def seconds(who):
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime

usage = sys.argv.pop(1)
try:
    run_program()
finally:
    with open(usage, "w") as file:
        print(seconds(resource.RUSAGE_SELF), seconds(resource.RUSAGE_CHILDREN), file=file)
"""
"""Runs the command line and writes its processor time and that of its workers into a file."""
HEADER = (
    "| corpus | words | workers | tree | CPU s | of the parent | MB per CPU-s | s | MB/s | peak MB "
    "| store, bytes per corpus byte |"
)


@dataclass(frozen=True)
class Run:
    parent_seconds: float
    """User and system time of the command's own process."""
    worker_seconds: float
    """User and system time of its workers."""
    seconds: float
    peak_bytes: int
    """Of the largest process."""
    store_bytes: int

    @property
    def cpu_seconds(self) -> float:
        return self.parent_seconds + self.worker_seconds


def preprocess(tree: Path, overrides: Sequence[str], store: Path) -> Run:
    """Run the command of a source tree once."""
    recipe = str(HERE / "recipes/roberta/tiny.yaml")
    # -P: the package of `tree`, not that of the current folder.
    usage = store.with_suffix(".usage")
    command = [sys.executable, "-P", "-c", COMMAND, str(usage), "preprocess", recipe, *overrides]
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, f"data.store={store}"], env=environment, stdout=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    if status:
        sys.exit(f"preprocessing.py: the command of {tree} failed.")
    size = sum(path.stat().st_size for path in store.iterdir())
    parent, workers = map(float, usage.read_text().split())
    return Run(parent, workers, seconds, used.ru_maxrss * 1024, size)


def copied(corpus: Path, copies: int, folder: Path) -> Path:
    """The corpus itself, or a file that holds it several times."""
    if copies == 1:
        return corpus
    path = folder / corpus.name
    data = corpus.read_bytes()
    with path.open("wb") as file:
        for _ in range(copies):
            file.write(data)
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("vocab", type=Path)
    parser.add_argument("--layout", default="documents")
    parser.add_argument("--merges", type=Path)
    parser.add_argument("--words", help="type of data.segmenter")
    parser.add_argument("--workers", type=int, nargs="+", default=[1])
    parser.add_argument("--copies", type=int, default=1, help="repeat the corpus in one file")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--tree", type=Path, action="append")
    parsed = parser.parse_args(arguments)
    cases = [(tree, workers) for tree in parsed.tree or [HERE] for workers in parsed.workers]
    runs: dict[tuple[Path, int], list[Run]] = {case: [] for case in cases}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus = copied(parsed.corpus, parsed.copies, folder)
        tokenizer = f"{{type: wordpiece, vocab: {parsed.vocab}}}"
        if parsed.merges:
            tokenizer = f"{{type: bpe, vocab: {parsed.vocab}, merges: {parsed.merges}}}"
        overrides = [
            f"data.corpus={corpus}",
            f"data.layout={parsed.layout}",
            f"tokenizer={tokenizer}",
            *([f"data.segmenter.type={parsed.words}"] if parsed.words else []),
        ]
        for _ in range(parsed.runs):
            for tree, workers in cases:
                store = folder / "store"
                some = [*overrides, f"data.workers={workers}"]
                runs[tree, workers].append(preprocess(tree.resolve(), some, store))
                shutil.rmtree(store)
        size = corpus.stat().st_size
    print(HEADER)
    for (tree, workers), found in runs.items():
        best = min(found, key=lambda run: run.cpu_seconds)
        seconds = min(run.seconds for run in found)
        print(
            f"| {parsed.corpus.name} x {parsed.copies} | {parsed.words or ''} | {workers} "
            f"| {tree.resolve().name} | {best.cpu_seconds:.2f} | {best.parent_seconds:.2f} "
            f"| {size / 1e6 / best.cpu_seconds:.1f} | {seconds:.2f} | {size / 1e6 / seconds:.1f} "
            f"| {max(run.peak_bytes for run in found) / 1e6:.0f} "
            f"| {best.store_bytes / size:.3f} |"
        )


if __name__ == "__main__":
    main()
