"""Where the host waits for the GPU in a training step, by line of Python."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.gpu.figures import Bench
from benchmarks.gpu.timing import free_memory
from benchmarks.gpu.training import start_training

_ENGINES = (
    *(("zero0", "fp32"), ("zero0", "bf16"), ("zero0", "fp16")),
    *(("zero1", "bf16"), ("zero1", "fp16"), ("zero2", "bf16"), ("zero3", "bf16")),
)
_WARM_STEPS = 3
_LISTED = 12


def run(bench: Bench) -> None:
    for deepspeed, precision in _ENGINES[:1] if bench.dry else _ENGINES:
        names = {"engine": deepspeed, "precision": precision}
        if not bench.may_run("sync", **names):
            continue
        with bench.case("sync", **names):
            training = start_training(
                "roberta/tiny.yaml",
                [
                    *("data.sequence_length=64", "train.global_batch_size=8"),
                    *("train.micro_batch_size=4", f"engine.deepspeed={deepspeed}"),
                    *(f"engine.precision={precision}", "engine.loss_scale.initial_power=8"),
                ],
                texts="short",
                vocabulary_size=1000,
            )
            with closing(training):
                for number in range(_WARM_STEPS):
                    training.step(number)
                with waits() as found:
                    training.step(_WARM_STEPS)
            bench.record(
                "sync",
                **names,
                micro_batches=len(training.batches[0][0].micro_batches),
                waits=found.total() if torch.cuda.is_available() else "counted on GPUs only",
                where=[f"{line}: {count}" for line, count in found.most_common(_LISTED)],
            )
        free_memory()


@contextmanager
def waits() -> Iterator[Counter[str]]:
    """Count the waits inside the context by file and line; a CPU has none.

    torch's debug mode reports operations that wait, but not synchronize().
    """
    found: Counter[str] = Counter()
    if not torch.cuda.is_available():
        yield found
        return
    synchronize = torch.cuda.synchronize

    def counted(*arguments: Any, **options: Any) -> None:
        found["torch.cuda.synchronize()"] += 1
        synchronize(*arguments, **options)

    def note(message: object, category: object, file: str, line: int, *rest: object) -> None:
        found[f"{'/'.join(Path(file).parts[-3:])}:{line}"] += 1

    torch.cuda.set_sync_debug_mode("warn")
    try:
        with (
            warnings.catch_warnings(),
            patch("warnings.showwarning", note),
            patch("torch.cuda.synchronize", counted),
        ):
            warnings.simplefilter("always")
            yield found
    finally:
        torch.cuda.set_sync_debug_mode("default")
