"""Time and peak memory of a language model's loss, computed in chunks and on whole logits.

python benchmarks/vocabulary_loss.py [--rows 1 8] [--vocabulary 50000] [--hidden 768] [--repeats 3]

Forward and backward on a CPU in fp32, rows of 1,024 positions, each way in its own process.
`peak MB` is the peak growth of the process (VmHWM) in the first round, beyond inputs and output
matrix; `at rest MB` is the size of the two gradients that are returned. Freed blocks are returned
to the system, which is the default outside a training of ptm.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor
from torch.nn import functional as F

from ptm.nn.vocabulary_loss import vocabulary_sums

LENGTH = 1024
MEGABYTE = 1 << 20


def status(key: str) -> int:
    """A memory line of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def loss_of(way: str, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    if way == "chunked":
        return vocabulary_sums(hidden, weight, targets, torch.ones_like(targets)).loss
    return F.cross_entropy(F.linear(hidden, weight), targets, reduction="sum")


def measure(way: str, *, rows: int, vocabulary: int, width: int, repeats: int) -> dict[str, float]:
    torch.manual_seed(0)
    hidden = torch.randn(rows * LENGTH, width, requires_grad=True)
    weight = torch.randn(vocabulary, width).mul_(0.02).requires_grad_()
    targets = torch.randint(0, vocabulary, (rows * LENGTH,))
    loss_of(way, hidden[:8], weight[:64], targets[:8] % 64).backward()
    hidden.grad = weight.grad = None
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before, seconds, peak = status("VmRSS"), [], 0
    for _ in range(repeats):
        hidden.grad = weight.grad = None
        began = time.perf_counter()
        loss = loss_of(way, hidden, weight, targets)
        loss.backward()
        seconds.append(time.perf_counter() - began)
        peak = peak or status("VmHWM")
    assert hidden.grad is not None
    assert weight.grad is not None
    gradients = 4 * (hidden.numel() + weight.numel())
    return {
        "peak MB": round((peak - before) / MEGABYTE),
        "at rest MB": round(gradients / MEGABYTE),
        "seconds, each": [round(value, 2) for value in seconds],  # type: ignore[dict-item]
        "loss": float(loss.detach()) / targets.numel(),
        "gradient": float(weight.grad.norm()),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--vocabulary", type=int, default=50_000)
    parser.add_argument("--hidden", type=int, default=768)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--way", choices=["chunked", "whole"])
    options = parser.parse_args()
    if options.way is not None:
        found = measure(
            options.way,
            rows=options.rows[0],
            vocabulary=options.vocabulary,
            width=options.hidden,
            repeats=options.repeats,
        )
        print(json.dumps(found))
        return
    for rows in options.rows:
        for way in ("whole", "chunked"):
            words = ["--way", way, "--rows", str(rows), "--vocabulary", str(options.vocabulary)]
            words += ["--hidden", str(options.hidden), "--repeats", str(options.repeats)]
            done = subprocess.run(
                [sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True, check=True
            )
            print(rows, "rows,", way, done.stdout.strip(), flush=True)


if __name__ == "__main__":
    main()
