"""Write checkpoints atomically: a checkpoint is whole or absent.

All ranks write into a temporary folder, which is synced and renamed; the file `latest` is replaced
last. For an asynchronous save, each rank copies its fragments to host memory between two steps, and
a thread writes them during training; once all ranks have written, they finish the checkpoint
together.

`torch.distributed.checkpoint` is not used: ZeRO's flat ranges would need a planner of about the
size of this code, and it has no checksums and no node-local folders.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ptm.checkpoint.format import (
    BEST,
    LATEST,
    RUN,
    Fragment,
)
from ptm.checkpoint.writing import (
    Retention,
    clear_leftovers,
    remove_old_checkpoints,
    replace_folder,
    write_fragments,
    write_manifest,
    write_synced,
)
from ptm.engines.fragments import EngineState
from ptm.engines.ranks import Ranks, all_gather_objects, broadcast_from_rank0, run_on_all_ranks
from ptm.files.kinds import CHECKPOINT
from ptm.files.ownership import mark_folder
from ptm.files.writing import sync_folder, temporary_name, write_file

logger = logging.getLogger(__name__)


class SaveProgress(IntEnum):
    """A rank's progress with a checkpoint; all-gathered once per step."""

    IDLE = 0
    WRITING = 1
    WRITTEN = 2
    FAILED = 3


class CheckpointWriter:
    """Writes the checkpoints of one run. All ranks call the same methods in the same order."""

    def __init__(
        self,
        folder: Path,
        state: EngineState,
        ranks: Ranks,
        keeping: Retention,
        *,
        node_local: bool = False,
    ) -> None:
        """With `node_local`, `folder` is local to each host, which finishes its own checkpoint."""
        self._folder = folder
        self._state = state
        self._ranks = ranks
        self._keeping = keeping
        self._writes = ranks.is_local_main if node_local else ranks.is_main
        self._pending: _PendingCheckpoint | None = None
        self._not_removed: dict[str, str] = {}

    @property
    def progress(self) -> SaveProgress:
        """Progress with the checkpoint being written; IDLE without one."""
        return SaveProgress.IDLE if self._pending is None else self._pending.progress

    @property
    def step(self) -> int | None:
        """Step of the checkpoint being written, or None."""
        return None if self._pending is None else self._pending.step

    def start(
        self, step: int, run: Mapping[str, Any], *, asynchronous: bool, best: bool = False
    ) -> None:
        """Start writing `global_step<step>`. Collective.

        `asynchronous`: a thread writes a copy while training continues; otherwise the part of this
        rank is written on return. Raises OSError if the folder cannot be created.
        """
        assert self._pending is None, "a checkpoint is already being written"
        target = self._folder / f"global_step{step}"
        # All ranks write into one folder, whose name one of them draws.
        aside = broadcast_from_rank0(self._ranks, lambda: temporary_name(target))

        def prepare() -> None:
            if self._writes:
                # The run folder itself is not created: without it, it was moved or removed.
                self._folder.mkdir(exist_ok=True)
                aside.mkdir()
                mark_folder(aside, CHECKPOINT)

        run_on_all_ranks(self._ranks, prepare)
        self._pending = _PendingCheckpoint(step, dict(run), aside, target, best=best)
        file = aside / f"rank{self._ranks.rank:05d}.bin"
        if not asynchronous:
            self._pending.write(file, self._pieces(copy=False))
            return
        copied = list(self._pieces(copy=True))
        # Daemon thread: if the program ends first, its files are still in the temporary folder.
        self._pending.thread = threading.Thread(
            target=self._pending.write, args=(file, copied), name="ptm-save", daemon=True
        )
        self._pending.thread.start()

    def _pieces(self, *, copy: bool) -> Iterator[tuple[Fragment, Tensor]]:
        """This rank's fragments and their values, as fp32 in host memory.

        Without `copy`, the values may share memory with the engine's state.
        """
        at = 0
        for owned in self._state.local_fragments():
            for kind in self._state.state_names(owned):
                found = self._state.read(owned, kind)
                values = found.to("cpu", torch.float32, copy=copy).contiguous()
                yield Fragment(owned.name, kind, owned.start, values.numel(), at), values
                at += 4 * values.numel()

    def finish(self) -> int:
        """Wait for all parts and rename the checkpoint into place; return its step. Collective.

        Raises OSError if a rank could not write; the temporary folder is then removed.
        """
        pending = self._pending
        assert pending is not None, "no checkpoint is being written"
        self._pending = None
        try:
            entry = run_on_all_ranks(self._ranks, pending.result)
            entries = all_gather_objects(entry, self._ranks)
            run_on_all_ranks(self._ranks, lambda: self._place(pending, entries))
        except OSError:
            if self._writes and self._folder.is_dir():
                clear_leftovers(self._folder)
            raise
        if self._writes:
            self._remove_old()
        return pending.step

    def _place(self, pending: _PendingCheckpoint, entries: Sequence[Mapping[str, Any]]) -> None:
        if not self._writes:
            return
        write_synced(pending.aside / RUN, json.dumps(pending.run, indent=1))
        write_manifest(pending.aside, self._state.shapes(), entries)
        replace_folder(pending.aside, pending.target)
        sync_folder(self._folder)
        write_file(self._folder / LATEST, pending.target.name, sync=True)
        if pending.best:
            write_file(self._folder / BEST, pending.target.name, sync=True)

    def _remove_old(self) -> None:
        """Remove old checkpoints. A failure is logged once: the new checkpoint is written."""
        problems = remove_old_checkpoints(self._folder, self._keeping)
        for name, reason in problems.items():
            if name not in self._not_removed:
                logger.warning("the old checkpoint %s stays on disk: %s", name, reason)
        self._not_removed = problems


class _PendingCheckpoint:
    """One rank's part of a checkpoint that is being written."""

    def __init__(
        self, step: int, run: dict[str, Any], aside: Path, target: Path, *, best: bool
    ) -> None:
        """`aside`: the temporary folder, which is renamed to `target`."""
        self.step = step
        self.run = run
        self.aside = aside
        self.target = target
        self.best = best
        self.thread: threading.Thread | None = None
        self._entry: dict[str, Any] | None = None
        self._problem: BaseException | None = None

    @property
    def progress(self) -> SaveProgress:
        if self._problem is not None:
            return SaveProgress.FAILED
        return SaveProgress.WRITING if self._entry is None else SaveProgress.WRITTEN

    def write(self, file: Path, pieces: Iterable[tuple[Fragment, Tensor]]) -> None:
        """Write the fragments; keep the manifest entry, or the error, for `result`."""
        began = time.perf_counter()
        try:
            entry = write_fragments(file, pieces)
        except BaseException as error:
            # Possibly on a thread: `result` raises it where all ranks wait.
            self._problem = error
            return
        self._entry = {**entry, "seconds": round(time.perf_counter() - began, 3)}

    def result(self) -> dict[str, Any]:
        """Wait for the write; return the manifest entry. Raises the error if the write failed."""
        if self.thread is not None:
            self.thread.join()
        if self._problem is not None:
            raise self._problem
        assert self._entry is not None, "nothing was written"
        return self._entry
