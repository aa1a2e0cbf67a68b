"""Saving a checkpoint: whole or not there.

The folder is written aside by all ranks, synced, and renamed; `latest` is renamed into place last.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ptm.model.checkpoint import (
    FORMAT,
    LATEST,
    MANIFEST,
    RUN,
    Fragment,
    checkpoint_folders,
    digest_of,
)
from ptm.train.distributed import Ranks, agreed, objects_of_all
from ptm.train.fragments import EngineState


def write_checkpoint(
    folder: Path,
    *,
    step: int,
    state: EngineState,
    run: Mapping[str, Any],
    ranks: Ranks,
    keep: int,
    node_local: bool = False,
) -> Path:
    """Write `global_step<step>` with every rank's share; called by all ranks.

    `node_local`: the folder is another one on every host, and each is made whole on its own, with
    the files of its host's ranks. Raises OSError where it cannot be written; nothing half-written
    then has a checkpoint's name.
    """
    target = folder / f"global_step{step}"
    aside = folder / f"{target.name}.partial"
    writes = ranks.first_on_host if node_local else ranks.first

    def prepare() -> None:
        if writes:
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)

    def finish() -> None:
        if writes:
            _write_synced(aside / RUN, json.dumps(run, indent=1))
            _write_manifest(aside, state, entries)
            shutil.rmtree(target, ignore_errors=True)
            aside.rename(target)
            sync_folder(folder)
            replace_file(folder / LATEST, target.name)
            _drop_old(folder, keep)

    agreed(ranks, prepare)
    file = aside / f"rank{ranks.rank:05d}.bin"
    entry = agreed(ranks, lambda: _write_fragments(file, state))
    entries = objects_of_all(entry, ranks)
    agreed(ranks, finish)
    return target


def _write_fragments(path: Path, state: EngineState) -> dict[str, Any]:
    """One rank's fragments as raw fp32; returns the list of what they are."""
    digest = hashlib.blake2b(digest_size=16)
    fragments, at = [], 0
    with path.open("wb") as file:
        for owned in state.owned():
            for kind in state.kinds:
                values = state.read(owned, kind).to("cpu", torch.float32).contiguous()
                data = values.numpy().view(np.uint8).data
                file.write(data)
                digest.update(data)
                fragments.append(Fragment(owned.name, kind, owned.start, owned.count, at))
                at += len(data)
        file.flush()
        os.fsync(file.fileno())
    return {
        "file": path.name,
        "bytes": at,
        "blake2b": digest.hexdigest(),
        "fragments": [asdict(fragment) for fragment in fragments],
    }


def _write_manifest(aside: Path, state: EngineState, entries: Sequence[Mapping[str, Any]]) -> None:
    manifest = {
        "format": FORMAT,
        "parameters": state.shapes(),
        "kinds": state.kinds,
        "files": entries,
        "run": digest_of((aside / RUN).read_bytes()),
    }
    text = json.dumps(manifest)
    _write_synced(aside / MANIFEST, json.dumps({"blake2b": digest_of(text.encode())}) + "\n" + text)
    sync_folder(aside)


def _drop_old(folder: Path, keep: int) -> None:
    """Remove all but the newest `keep`: under another name first, so that none is half there."""
    for path in checkpoint_folders(folder)[keep:]:
        doomed = path.with_name(f"{path.name}.partial")
        shutil.rmtree(doomed, ignore_errors=True)
        path.rename(doomed)
        shutil.rmtree(doomed)


def clear_leftovers(folder: Path) -> None:
    """Remove what a killed save left behind."""
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
