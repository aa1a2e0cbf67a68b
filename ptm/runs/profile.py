"""`ptm profile`: the costliest operations of a run's profiled steps, and what it waited for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ptm.recipe.profile_file import MEMORY, PROFILE, TRACE, Profile, read_profile


def describe_profile(run: Path, *, count: int) -> Iterator[str]:
    """Yield the lines about a run's profile, with its `count` costliest operations.

    Raises UserError if the run has no profile.
    """
    found = read_profile(run)
    last = found.first_step + found.steps - 1
    yield (
        f"steps {found.first_step} to {last} of rank 0 on {found.device}: "
        f"{1e3 * found.seconds / found.steps:.1f} ms per step (profiling itself included)"
    )
    for what, seconds in found.waiting.items():
        yield f"waiting for {what}: {_share(seconds, found)}"
    yield from _device_lines(found)
    yield ""
    on_device = any(one.device_seconds for one in found.operations)
    where = "GPU" if on_device else "CPU"
    yield f"{'share':>7}  {'ms/step':>9}  {'calls/step':>10}  operation ({where} time of its own)"
    ordered = sorted(
        ((one.device_seconds if on_device else one.cpu_seconds, one) for one in found.operations),
        key=lambda pair: -pair[0],
    )
    for seconds, one in ordered[:count]:
        yield (
            f"{_share(seconds, found):>7}  {1e3 * seconds / found.steps:9.2f}  "
            f"{one.calls / found.steps:10.1f}  {one.name}"
        )
    yield ""
    yield f"trace: {run / PROFILE / TRACE} (open it in https://ui.perfetto.dev)"
    memory = run / PROFILE / MEMORY
    if memory.exists():
        yield f"memory: {memory} (open it in https://pytorch.org/memory_viz)"


def _device_lines(found: Profile) -> Iterator[str]:
    busy = sum(one.device_seconds for one in found.operations)
    if busy:
        yield f"GPU without a kernel: {_share(max(0.0, found.seconds - busy), found)}"


def _share(seconds: float, found: Profile) -> str:
    return f"{100 * seconds / found.seconds:.1f} %"
