"""What each rank last said of itself: `ranks/rank<k>.json` in the run folder.

Whoever started the ranks reads there what became of them: a rank that ended says how, one that was
killed has not said that it ended, and one that hangs has been at its step for longest.
"""

from __future__ import annotations

import faulthandler
import json
import os
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from ptm.errors import EXIT_FAULT, EXIT_USER, UserError

FOLDER = "ranks"
TRACES = "nccl_trace_rank_"
"""How the names of the files begin that torch writes where NCCL times out."""
_SECONDS = 2.0
"""Between two notes of the same phase, at least."""


class RankFile:
    """One rank's file, and beside it the stacks that a crash of the interpreter leaves."""

    def __init__(self, run: Path, *, rank: int, world_size: int) -> None:
        self._path = run / FOLDER / f"rank{rank:05d}.json"
        self._told: dict[str, Any] = {
            "rank": rank,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            # Tells whoever launched the ranks theirs from those of an earlier start.
            "launch": os.environ.get("PTM_LAUNCH"),
        }
        self._several = world_size > 1
        self.code = EXIT_FAULT
        """The exit code, once it is known."""
        self._phase = ""
        self._step = 0
        self._next = 0.0
        self._stacks: TextIO | None = None

    def __enter__(self) -> RankFile:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._stacks = self._path.with_suffix(".stacks").open("w", encoding="utf-8")
        faulthandler.enable(self._stacks)
        self.note("starting", 0)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        said = None if error is None else f"{type(error).__name__}: {error}"
        code = EXIT_USER if isinstance(error, UserError) else EXIT_FAULT if error else self.code
        self._write(phase="ended", step=self._step, code=code, error=said)
        if code == EXIT_FAULT and self._several:
            self._write_flights()
        if self._stacks is not None:
            faulthandler.disable()
            self._stacks.close()
            stacks = self._path.with_suffix(".stacks")
            if not stacks.stat().st_size:
                stacks.unlink()

    def note(self, phase: str, step: int) -> None:
        """Say what is being done; at most every other second while that stays the same."""
        now = time.monotonic()
        if phase == self._phase and now < self._next:
            return
        self._phase, self._step, self._next = phase, step, now + _SECONDS
        self._write(phase=phase, step=step)

    def _write_flights(self) -> None:
        """For a rank that waited in vain: which of its calls to the others was its last."""
        if "torch" not in sys.modules:
            # No call to other ranks can have been made.
            return
        from ptm.engines.ranks import flights

        found = flights()
        if found is None:
            return
        # After a timeout the process may be killed at any moment, the disk may be full.
        with suppress(OSError):
            self._path.with_suffix(".calls").write_bytes(found)

    def _write(self, **said: Any) -> None:
        """Replace the file; a full disk is no reason to stop a training."""
        aside = self._path.with_suffix(".partial")
        try:
            aside.write_text(json.dumps({**self._told, "time": time.time(), **said}))
            aside.replace(self._path)
        except OSError:
            return


def clear_rank_files(run: Path) -> None:
    """Remove what the ranks of an earlier start have left."""
    for kind in ("rank*", f"{TRACES}*"):
        for path in (run / FOLDER).glob(kind):
            path.unlink(missing_ok=True)
