"""How often the host reads a value from the device in one training step.

On a GPU each of these reads waits for all kernels that were launched before. Here they are counted
on the CPU: the same code runs, and a read of a scalar is the same operation of torch.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from deepspeed.accelerator import get_accelerator
from torch.utils._python_dispatch import TorchDispatchMode

from ptm.engines.base import Engine
from ptm.errors import EXIT_DONE
from tests.support.small_runs import Runs

READS = {
    # engine.deepspeed, engine.precision: reads of scalars in a step of two micro-batches. On one
    # rank, zero1 and zero2 run as stage 0 in fp32.
    ("zero0", "fp32"): 3,
    ("zero0", "bf16"): 7,
    ("zero0", "fp16"): 7,
    ("zero1", "fp32"): 3,
    ("zero1", "bf16"): 4,
    ("zero2", "fp32"): 3,
    ("zero2", "bf16"): 6,
    ("zero3", "fp32"): 3,
    ("zero3", "bf16"): 3,
}


class _Reads(TorchDispatchMode):
    """Counts the operations that read a scalar."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        self.count += str(func) == "aten._local_scalar_dense.default"
        return func(*args, **(kwargs or {}))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Reads and synchronisations in the newest training step."""
    found: Counter[str] = Counter()
    waits = 0
    train_step = Engine.train_step

    def counting(self: Engine, *arguments: Any, **options: Any) -> Any:
        before = waits
        with _Reads() as reads:
            result = train_step(self, *arguments, **options)
        found["reads"] = reads.count
        found["waits"] = waits - before
        return result

    def synchronize(*arguments: Any) -> None:
        nonlocal waits
        waits += 1

    monkeypatch.setattr(Engine, "train_step", counting)
    monkeypatch.setattr(type(get_accelerator()), "synchronize", synchronize)
    return found


@pytest.mark.parametrize(("deepspeed", "precision"), READS)
def test_a_step_reads_few_scalars_whatever_the_number_of_parameters(
    runs: Runs, counted: Counter[str], deepspeed: str, precision: str
) -> None:
    engine = (f"engine.deepspeed={deepspeed}", f"engine.precision={precision}")
    small = ("train.steps=4", "train.micro_batch_size=4", "tracking.log_every=100")
    assert runs.train("run", *engine, *small) == EXIT_DONE
    assert (counted["reads"], counted["waits"]) == (READS[deepspeed, precision], 0)
