"""Errors of torch and Python for lack of memory, as one sentence."""

from __future__ import annotations

import re

from ptm.errors import OutOfMemoryError

ADVICE = "docs/out_of_memory.md lists what to change, in order."

_REQUEST = re.compile(r"tried to allocate ([\d.]+ \w+)", re.IGNORECASE)
_CAPACITY = re.compile(r"total capacity of ([\d.]+ \w+) of which ([\d.]+ \w+) is free")
_CPU = "DefaultCPUAllocator: can't allocate memory"
_GPU = "out of memory"


def memory_error(error: BaseException) -> str | None:
    """What ran out of memory, and how much was wanted and free; None for any other error.

    Knows torch's errors of GPUs and CPUs, and Python's MemoryError. The sentence has no full stop.
    """
    text = str(error)
    if isinstance(error, MemoryError) or _CPU in text:
        device = "the host"
    elif isinstance(error, RuntimeError) and _GPU in text.lower():
        device = "a GPU"
    else:
        return None
    details = []
    if request := _REQUEST.search(text):
        details.append(f"{request[1]} more were needed")
    if capacity := _CAPACITY.search(text):
        details.append(f"{capacity[2]} of {capacity[1]} are free")
    return f"{device} ran out of memory" + (f" ({'; '.join(details)})" if details else "")


def training_out_of_memory(reason: str, *, step: int, rows: int) -> OutOfMemoryError:
    """The error of a training at `step`, with the first change to try.

    `reason`: from `memory_error`. `rows`: those of a micro-batch.
    """
    change = (
        f"train.micro_batch_size={rows // 2} in place of {rows} (the global batch stays the same)"
        if rows > 1
        else "engine.activation_checkpointing=true"
    )
    return OutOfMemoryError(
        f"step {step}: {reason}. Set {change} and run the same command again. {ADVICE}"
    )
