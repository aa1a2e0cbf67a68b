"""What one GPU does with ptm: kernels, correctness, waiting, attention, steps, and the Trainer.

python -m benchmarks.gpu OUT [SECTION ...] [--seconds 540] [--only TEXT] [--dry-run]

Run it in the project's folder. It needs no network, corpus or vocabulary: batches are random texts
with the lengths of book reviews. Each section runs in a process of its own, so that an error in
one does not concern the others. OUT receives figures.jsonl, table.md and profiles.txt.
Without a GPU, it is a dry run at tiny sizes.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.gpu.figures import FAILED, SKIPPED, Bench, read_figures, write_table

SECTIONS = {
    "env": "environment",
    "kernels": "kernels",
    "check": "check",
    "equality": "equality",
    "sync": "sync",
    "attention": "attention",
    "steps": "steps",
    "hf": "hf",
}
"""Section -> its module."""
_ROOT = Path(__file__).parents[2]
_GRACE = 45.0
"""Seconds that a section may take beyond the budget, for the case that it has started."""


def main(words: Sequence[str]) -> int:
    """Run the sections; return 1 if anything failed."""
    parser = _parser()
    options = parser.parse_args(words)
    unknown = set(options.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"unknown sections: {', '.join(sorted(unknown))}")
    options.out.mkdir(parents=True, exist_ok=True)
    out = options.out.resolve()
    # A section's process is given --dry-run if there is no GPU.
    dry = options.dry_run or not (options.in_this_process or _has_gpu())
    deadline = time.monotonic() + options.seconds
    bench = Bench(out, dry=dry, only=options.only, deadline=deadline)
    if options.in_this_process:
        return _run_here(bench, options.sections[0])
    before = len(read_figures(out))
    date = datetime.now(UTC).strftime("%Y-%m-%d")
    bench.record(
        "command", date=date, command=shlex.join(["python", "-m", "benchmarks.gpu", *words])
    )
    chosen = [name for name in SECTIONS if name in (options.sections or SECTIONS)]
    # The table names the card whatever was chosen.
    for section in dict.fromkeys(("env", *chosen)):
        left = deadline - time.monotonic()
        if left > 0:
            _run_apart(bench, section, left)
        else:
            bench.record(section, **{SKIPPED: "no time left"})
        write_table(out, dry=dry)
    return int(any(FAILED in line for line in read_figures(out)[before:]))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("out", type=Path, help="folder for the figures")
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"{', '.join(SECTIONS)}; default: all"
    )
    parser.add_argument("--seconds", type=float, default=540.0, help="budget of all sections")
    parser.add_argument("--only", default="", help="run only cases with this in one of their names")
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes")
    parser.add_argument("--in-this-process", action="store_true", help=argparse.SUPPRESS)
    return parser


def _has_gpu() -> bool:
    """Ask another process, so that this one holds no memory of the GPU."""
    code = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _run_here(bench: Bench, section: str) -> int:
    module = importlib.import_module(f"benchmarks.gpu.{SECTIONS[section]}")
    with bench.case(section):
        module.run(bench)
    return 0


def _run_apart(bench: Bench, section: str, left: float) -> None:
    """Run a section in a process of its own, and end it if it does not end in time."""
    words = [str(bench.folder), section, "--in-this-process", f"--seconds={left}"]
    words += [f"--only={bench.only}", *(["--dry-run"] if bench.dry else [])]
    # The allocator as `ptm train` sets it; with several GPUs, the Trainer would use all.
    defaults = {"PYTORCH_ALLOC_CONF": "expandable_segments:True", "CUDA_VISIBLE_DEVICES": "0"}
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.gpu", *words],
        cwd=_ROOT,
        env={**defaults, **os.environ},
        start_new_session=True,
    )
    try:
        code = process.wait(left + _GRACE)
        if code:
            bench.record(section, **{FAILED: f"the process ended with code {code}"})
    except subprocess.TimeoutExpired:
        bench.record(section, **{FAILED: "did not end within the time budget"})
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
