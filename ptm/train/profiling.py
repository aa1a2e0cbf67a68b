"""Profile some steps of a training with torch's profiler: `train.profile` of the recipe."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from ptm.files.writing import write_file
from ptm.recipe.blocks import ProfileBlock
from ptm.recipe.profile_file import (
    MEMORY,
    OPERATIONS,
    PROFILE,
    TRACE,
    Profile,
    ProfiledOperation,
)

logger = logging.getLogger(__name__)

DATA, RANKS = "ptm: wait for data", "ptm: wait for other ranks"
_SYNCHRONISATIONS = ("cudaDeviceSynchronize", "cudaStreamSynchronize", "cudaEventSynchronize")
_MEMORY_ENTRIES = 200_000
"""Allocations that the memory snapshot of a GPU holds."""


def waiting_for(what: str) -> record_function:
    """Context of a wait, which the profile reports under the name `what`."""
    return record_function(what)


class StepProfiler:
    """Writes trace, operations and, on a GPU, memory snapshot of the steps that the recipe names.

    Does nothing without `block`, as on all ranks but the first.
    """

    def __init__(self, block: ProfileBlock | None, run: Path, device: torch.device) -> None:
        self._block = block
        self._folder = run / PROFILE
        self._device = device
        self._profiler: Any = None
        self._began = 0.0

    def before_step(self, done: int) -> None:
        """Begin or end the profile; `done` is the number of steps done so far."""
        if self._block is None:
            return
        if self._profiler is None and done == self._block.start - 1:
            self._begin()
        elif self._profiler is not None and done == self._block.start - 1 + self._block.steps:
            self._end(self._block)

    def close(self, done: int, *, ended: bool) -> None:
        """End the profile; `done` as in `before_step`, `ended`: whether no step is left."""
        if self._block is None:
            return
        if self._profiler is None:
            if ended and not (self._folder / OPERATIONS).exists():
                logger.warning(
                    "train.profile: no profile was made, because step %d was not among the steps "
                    "of this call",
                    self._block.start,
                )
        else:
            steps = done - (self._block.start - 1)
            self._end(self._block.model_copy(update={"steps": steps}) if steps else None)

    def _begin(self) -> None:
        activities = [ProfilerActivity.CPU]
        if self._device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
            torch.cuda.synchronize(self._device)
            torch.cuda.memory._record_memory_history(max_entries=_MEMORY_ENTRIES)
        self._profiler = profile(activities=activities)
        self._profiler.__enter__()
        self._began = time.perf_counter()

    def _end(self, block: ProfileBlock | None) -> None:
        """Write the profile of `block`; None: drop it."""
        profiler, self._profiler, self._block = self._profiler, None, None
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        seconds = time.perf_counter() - self._began
        profiler.__exit__(None, None, None)
        try:
            if block is not None:
                self._write(profiler, block, seconds)
        except OSError as error:
            logger.warning("%s: the profile cannot be written: %s", self._folder, error.strerror)
        finally:
            if self._device.type == "cuda":
                torch.cuda.memory._record_memory_history(enabled=None)

    def _write(self, profiler: Any, block: ProfileBlock, seconds: float) -> None:
        self._folder.mkdir(exist_ok=True)
        profiler.export_chrome_trace(str(self._folder / TRACE))
        if self._device.type == "cuda":
            torch.cuda.memory._dump_snapshot(  # type: ignore[no-untyped-call]
                str(self._folder / MEMORY)
            )
        else:
            with suppress(FileNotFoundError):
                (self._folder / MEMORY).unlink()
        found = _profile_of(profiler, block, seconds, device=str(self._device))
        write_file(self._folder / OPERATIONS, found.model_dump_json(indent=1))
        last = block.start - 1 + block.steps
        logger.info(
            "profile of steps %d to %d: %s; `ptm profile %s` prints the costliest operations",
            block.start,
            last,
            self._folder / TRACE,
            self._folder.parent,
        )


def _profile_of(profiler: Any, block: ProfileBlock, seconds: float, *, device: str) -> Profile:
    averages = profiler.key_averages()
    times = {one.key: one for one in averages}
    waits = {
        "data": (DATA, "cpu_time_total"),
        "other ranks": (RANKS, "cpu_time_total"),
    }
    waiting = {
        what: getattr(times[key], field) / 1e6
        for what, (key, field) in waits.items()
        if key in times
    }
    if device.startswith("cuda"):
        synchronised = (one for one in averages if one.key in _SYNCHRONISATIONS)
        waiting["the GPU"] = sum(one.self_cpu_time_total for one in synchronised) / 1e6
    operations = [
        ProfiledOperation(
            name=one.key,
            calls=one.count,
            cpu_seconds=max(0.0, one.self_cpu_time_total / 1e6),
            device_seconds=max(0.0, one.self_device_time_total / 1e6),
        )
        for one in averages
        if one.key not in (DATA, RANKS)
    ]
    return Profile(
        device=device,
        first_step=block.start,
        steps=block.steps,
        seconds=seconds,
        waiting=waiting,
        operations=operations,
    )
