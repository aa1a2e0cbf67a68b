"""A lack of memory ends a command with one sentence."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from ptm.cli import entry
from ptm.errors import EXIT_FAULT, TrainingError
from ptm.out_of_memory import memory_error, training_out_of_memory
from ptm.train.trainer import Trainer
from tests.support.small_runs import Runs

GPU_ERROR = torch.OutOfMemoryError(
    "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 3 has a total capacity of 79.11 GiB of "
    "which 1.51 GiB is free. Including non-PyTorch memory, this process has 77.59 GiB memory in "
    "use."
)


def _too_much(*_: object) -> torch.Tensor:
    return torch.empty(1 << 60, dtype=torch.uint8)


def test_torch_on_a_cpu() -> None:
    with pytest.raises(RuntimeError) as caught:
        _too_much()
    assert memory_error(caught.value) == (
        "the host ran out of memory (1152921504606846976 bytes more were needed)"
    )


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            GPU_ERROR,
            "a GPU ran out of memory (20.00 GiB more were needed; 1.51 GiB of 79.11 GiB are free)",
        ),
        (RuntimeError("CUDA error: out of memory"), "a GPU ran out of memory"),
        (MemoryError(), "the host ran out of memory"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), None),
        (ValueError("out of memory"), None),
    ],
)
def test_the_sentence_of_an_error(error: Exception, sentence: str | None) -> None:
    assert memory_error(error) == sentence


@pytest.mark.parametrize(
    ("rows", "change"),
    [
        (9, "Set train.micro_batch_size=4 in place of 9 (the global batch stays the same)"),
        (1, "Set engine.activation_checkpointing=true"),
    ],
)
def test_the_first_change_to_try(rows: int, change: str) -> None:
    error = training_out_of_memory("a GPU ran out of memory", step=7, rows=rows)
    assert str(error).startswith(f"step 7: a GPU ran out of memory. {change} and run the same")


def test_a_training(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trainer, "_train_step", _too_much)
    with pytest.raises(TrainingError, match=r"step 1: the host ran out of memory .*micro_batch"):
        runs.train("large")


def test_any_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Parser:
        def print_help(self) -> None: ...

    def parsed(_: Parser, __: Sequence[str]) -> object:
        raise GPU_ERROR

    monkeypatch.setattr(entry, "_parsed", parsed)
    assert entry.main(["evaluate", "runs/large"]) == EXIT_FAULT
    assert capsys.readouterr().err == (
        "ptm: a GPU ran out of memory (20.00 GiB more were needed; 1.51 GiB of 79.11 GiB are free)"
        ". docs/out_of_memory.md lists what to change, in order.\n"
    )
