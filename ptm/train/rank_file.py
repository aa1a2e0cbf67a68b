"""Status file of each rank: `ranks/rank<k>.json` in the run folder.

`ptm launch` reads how the ranks ended: the file of a rank that exited has its exit code and error,
that of a killed rank lacks them, and a rank that hangs has been at its step for the longest time.
"""

from __future__ import annotations

import faulthandler
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from ptm.errors import EXIT_FAULT, EXIT_USER, UserError
from ptm.files.kinds import RANK_FILES
from ptm.files.ownership import remove_files
from ptm.files.reading import FileContentError, read_text
from ptm.files.writing import write_file

FOLDER = "ranks"
TRACES = "nccl_trace_rank_"
"""Prefix of the files that torch writes when an NCCL call times out."""
_BUS_ERROR = (
    ". A memory-mapped file was cut short while it was read, or its disk or network failed. "
    "`ptm verify STORE` checks a store"
)
_STACKS_BYTES = 1 << 20
_SECONDS = 2.0
"""Minimum interval between two updates within one phase."""


class RankFile:
    """Writes the status file of one rank, and beside it the stacks if the interpreter crashes."""

    def __init__(self, run: Path, *, rank: int, world_size: int) -> None:
        self._path = run / FOLDER / f"rank{rank:05d}.json"
        self._identity: dict[str, Any] = {
            "rank": rank,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            # Lets the launcher distinguish its ranks from those of an earlier start.
            "launch": os.environ.get("PTM_LAUNCH"),
        }
        self._several = world_size > 1
        self.steps: int | None = None
        """Steps of the whole run, once they are known."""
        self.code = EXIT_FAULT
        """The exit code to record when the rank ends without an error."""
        self._phase = ""
        self._step = 0
        self._next = 0.0
        self._stacks: TextIO | None = None
        self.on_note: Callable[[str, int], None] = lambda phase, step: None
        """Called with phase and step whenever they are noted."""

    def __enter__(self) -> RankFile:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._stacks = self._path.with_suffix(".stacks").open("w", encoding="utf-8")
        faulthandler.enable(self._stacks)
        self.note("starting", 0)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        fields = None if error is None else f"{type(error).__name__}: {error}"
        code = EXIT_USER if isinstance(error, UserError) else EXIT_FAULT if error else self.code
        self._write(phase="ended", step=self._step, code=code, error=fields)
        if code == EXIT_FAULT and self._several:
            self._write_flights()
        if self._stacks is not None:
            faulthandler.disable()
            # The disk may have become read-only, or the folder have been moved away.
            with suppress(OSError):
                self._stacks.close()
                stacks = self._path.with_suffix(".stacks")
                if not stacks.stat().st_size:
                    stacks.unlink()

    def note(self, phase: str, step: int) -> None:
        """Record the phase and step; at most once every two seconds within one phase."""
        self.on_note(phase, step)
        now = time.monotonic()
        if phase == self._phase and now < self._next:
            return
        self._phase, self._step, self._next = phase, step, now + _SECONDS
        self._write(phase=phase, step=step)

    def _write_flights(self) -> None:
        """Write the last collective calls of a failed rank, which show where it waited in vain."""
        if "torch" not in sys.modules:
            # Without torch, no collective can have been called.
            return
        from ptm.engines.ranks import dump_flight_recorder

        found = dump_flight_recorder()
        if found is None:
            return
        # Best effort: the process may be killed at any moment, and the disk may be full.
        with suppress(OSError):
            self._path.with_suffix(".calls").write_bytes(found)

    def _write(self, **fields: Any) -> None:
        """Replace the file. A full disk must not stop the training."""
        text = json.dumps({**self._identity, "time": time.time(), "steps": self.steps, **fields})
        with suppress(OSError):
            write_file(self._path, text)


def previous_crash(run: Path) -> str | None:
    """How a rank of the last start crashed, as a sentence; None if none did, or it is not known."""
    for path in sorted((run / FOLDER).glob("rank*.stacks")):
        try:
            first, _, _ = read_text(path, limit=_STACKS_BYTES).partition("\n")
        except (OSError, FileContentError):
            continue
        if first.startswith("Fatal Python error: "):
            what = first.removeprefix("Fatal Python error: ")
            cause = _BUS_ERROR if what.startswith("Bus error") else ""
            return f"the last start of this run ended with a crash of {path.stem}: {what}{cause}"
    return None


def clear_rank_files(run: Path) -> None:
    """Remove the rank files of an earlier start."""
    remove_files(run / FOLDER, RANK_FILES)
