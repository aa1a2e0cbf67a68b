"""Saving a checkpoint: whole or not there.

The folder is written aside by all ranks, synced, and renamed; `latest` is renamed into place last.
Between steps a rank copies what it owns to host memory and lets a thread write it while training
goes on; once all ranks have written theirs, they finish the checkpoint together.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ptm.checkpoint.format import (
    BEST,
    FORMAT,
    LATEST,
    MANIFEST,
    RUN,
    Fragment,
    checkpoint_folders,
    digest_of,
    step_of,
)
from ptm.engines.ranks import Ranks, agreed, objects_of_all
from ptm.engines.state import EngineState

_BEFORE = ".before"
"""Behind the name of a checkpoint while another of the same step takes its place."""


@dataclass(frozen=True)
class Keeping:
    """Which checkpoints stay: the newest `newest`, and those whose step is a multiple of `every`.

    The best one stays as well, where there is one.
    """

    newest: int
    every: int | None = None


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
        _write_synced(begun.aside / RUN, json.dumps(begun.run, indent=1))
        _write_manifest(begun.aside, self._state, entries)
        put_in_place(begun.aside, target)
        sync_folder(self._folder)
        replace_file(self._folder / LATEST, target.name)
        if begun.best:
            replace_file(self._folder / BEST, target.name)
        _drop_old(self._folder, self._keeping)


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
            entry = _write_fragments(file, pieces)
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


def _write_fragments(path: Path, pieces: Iterable[tuple[Fragment, Tensor]]) -> dict[str, Any]:
    """One rank's fragments as raw fp32; returns the list of what they are."""
    digest = hashlib.blake2b(digest_size=16)
    fragments, size = [], 0
    with path.open("wb") as file:
        for fragment, values in pieces:
            data = values.numpy().view(np.uint8).data
            file.write(data)
            digest.update(data)
            fragments.append(asdict(fragment))
            size += len(data)
        file.flush()
        os.fsync(file.fileno())
    return {"file": path.name, "bytes": size, "blake2b": digest.hexdigest(), "fragments": fragments}


def _write_manifest(aside: Path, state: EngineState, entries: Sequence[Mapping[str, Any]]) -> None:
    manifest = {
        "format": FORMAT,
        "parameters": state.shapes(),
        "kinds": sorted({piece["kind"] for entry in entries for piece in entry["fragments"]}),
        "files": entries,
        "run": digest_of((aside / RUN).read_bytes()),
    }
    text = json.dumps(manifest)
    _write_synced(aside / MANIFEST, json.dumps({"blake2b": digest_of(text.encode())}) + "\n" + text)
    sync_folder(aside)


def _drop_old(folder: Path, keeping: Keeping) -> None:
    """Remove what need not stay: under another name first, so that none is half there."""
    best = folder / BEST
    kept = best.read_text(encoding="utf-8") if best.exists() else None
    for path in checkpoint_folders(folder)[keeping.newest :]:
        if path.name == kept or (keeping.every and step_of(path) % keeping.every == 0):
            continue
        doomed = path.with_name(f"{path.name}.partial")
        shutil.rmtree(doomed, ignore_errors=True)
        path.rename(doomed)
        shutil.rmtree(doomed)


def put_in_place(aside: Path, target: Path) -> None:
    """Rename, also where a checkpoint of that step is there: one of the two always is."""
    before = target.with_suffix(_BEFORE)
    if target.exists():
        target.rename(before)
    aside.rename(target)
    shutil.rmtree(before, ignore_errors=True)


def clear_leftovers(folder: Path) -> None:
    """Remove what a killed save left behind, and take back what it was about to replace."""
    for path in folder.glob(f"*{_BEFORE}"):
        target = path.with_suffix("")
        shutil.rmtree(path) if target.exists() else path.rename(target)
    for path in folder.glob("*.partial"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _write_synced(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, text: str) -> None:
    """Write a small file so that it has the old or the new content, never neither."""
    aside = path.with_name(path.name + ".partial")
    _write_synced(aside, text)
    aside.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
