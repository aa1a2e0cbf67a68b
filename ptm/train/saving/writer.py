"""Saving a checkpoint: whole or not there.

The folder is written aside by all ranks, synced, and renamed; `latest` is renamed into place last.
Between steps a rank copies what it owns to host memory and lets a thread write it while training
goes on; once all ranks have written theirs, they finish the checkpoint together.
"""

from __future__ import annotations

import json
import shutil
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
    Keeping,
    clear_leftovers,
    drop_old,
    put_in_place,
    replace_file,
    sync_folder,
    write_fragments,
    write_manifest,
    write_synced,
)
from ptm.engines.fragments import EngineState
from ptm.engines.ranks import Ranks, agreed, objects_of_all


class Progress(IntEnum):
    """How far this rank is with a checkpoint; ranks tell each other once a step."""

    IDLE = 0
    WRITING = 1
    WRITTEN = 2
    FAILED = 3


class Saver:
    """Writes the checkpoints of one run; all ranks call the same methods in the same order."""

    def __init__(
        self,
        folder: Path,
        state: EngineState,
        ranks: Ranks,
        keeping: Keeping,
        *,
        node_local: bool = False,
    ) -> None:
        """With `node_local`, `folder` is another one on every host, made whole on its own."""
        self._folder = folder
        self._state = state
        self._ranks = ranks
        self._keeping = keeping
        self._writes = ranks.first_on_host if node_local else ranks.first
        self._begun: _Begun | None = None

    @property
    def progress(self) -> Progress:
        """Of the checkpoint that is being written, if any."""
        return Progress.IDLE if self._begun is None else self._begun.progress

    @property
    def step(self) -> int | None:
        """The step of the checkpoint that is being written."""
        return None if self._begun is None else self._begun.step

    def begin(self, step: int, run: Mapping[str, Any], *, behind: bool, best: bool = False) -> None:
        """Start writing `global_step<step>`: `behind` the training from a copy, or at once.

        Raises OSError where its folder cannot be made.
        """
        assert self._begun is None, "one checkpoint at a time"
        aside = self._folder / f"global_step{step}.partial"

        def prepare() -> None:
            if self._writes:
                shutil.rmtree(aside, ignore_errors=True)
                aside.mkdir(parents=True)

        agreed(self._ranks, prepare)
        self._begun = _Begun(step, dict(run), aside, best=best)
        file = aside / f"rank{self._ranks.rank:05d}.bin"
        if not behind:
            self._begun.write(file, self._pieces(copy=False))
            return
        copied = list(self._pieces(copy=True))
        # A daemon: what it leaves half-written when the program ends has no checkpoint's name.
        self._begun.thread = threading.Thread(
            target=self._begun.write, args=(file, copied), name="ptm-save", daemon=True
        )
        self._begun.thread.start()

    def _pieces(self, *, copy: bool) -> Iterator[tuple[Fragment, Tensor]]:
        """What this rank owns, as fp32 in host memory; if not copied, perhaps where it lies."""
        at = 0
        for owned in self._state.owned():
            for kind in self._state.kinds_of(owned):
                found = self._state.read(owned, kind)
                values = found.to("cpu", torch.float32, copy=copy).contiguous()
                yield Fragment(owned.name, kind, owned.start, values.numel(), at), values
                at += 4 * values.numel()

    def finish(self) -> int:
        """Wait for this rank's part and put the checkpoint in its place; return its step.

        Raises OSError where a rank could not write; nothing then has a checkpoint's name.
        """
        begun = self._begun
        assert begun is not None, "a checkpoint was begun"
        self._begun = None
        try:
            entry = agreed(self._ranks, begun.result)
            entries = objects_of_all(entry, self._ranks)
            target = begun.aside.with_suffix("")
            agreed(self._ranks, lambda: self._place(begun, target, entries))
        except OSError:
            if self._writes:
                clear_leftovers(self._folder)
            raise
        return begun.step

    def _place(self, begun: _Begun, target: Path, entries: Sequence[Mapping[str, Any]]) -> None:
        if not self._writes:
            return
        write_synced(begun.aside / RUN, json.dumps(begun.run, indent=1))
        write_manifest(begun.aside, self._state.shapes(), entries)
        put_in_place(begun.aside, target)
        sync_folder(self._folder)
        replace_file(self._folder / LATEST, target.name)
        if begun.best:
            replace_file(self._folder / BEST, target.name)
        drop_old(self._folder, self._keeping)


class _Begun:
    """One rank's part of a checkpoint, on its way to the disk."""

    def __init__(self, step: int, run: dict[str, Any], aside: Path, *, best: bool) -> None:
        self.step = step
        self.run = run
        self.aside = aside
        self.best = best
        self.thread: threading.Thread | None = None
        self._entry: dict[str, Any] | None = None
        self._problem: BaseException | None = None

    @property
    def progress(self) -> Progress:
        if self._problem is not None:
            return Progress.FAILED
        return Progress.WRITING if self._entry is None else Progress.WRITTEN

    def write(self, file: Path, pieces: Iterable[tuple[Fragment, Tensor]]) -> None:
        """Write them and note what came of it."""
        began = time.perf_counter()
        try:
            entry = write_fragments(file, pieces)
        except BaseException as error:
            # Perhaps on a thread: raised where the others wait for the result.
            self._problem = error
            return
        self._entry = {**entry, "seconds": round(time.perf_counter() - began, 3)}

    def result(self) -> dict[str, Any]:
        """The manifest's entry. Raises OSError where the writing failed."""
        if self.thread is not None:
            self.thread.join()
        if self._problem is not None:
            raise self._problem
        assert self._entry is not None, "written"
        return self._entry
