"""Writing checkpoints atomically: each is complete or absent.

torch.distributed.checkpoint is not used: ZeRO's flat ranges would need a planner as long as this
module, and it has no checksums, no fsync and no folders on each host's local disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ptm.checkpoint.format import BEST, FORMAT, MANIFEST, RUN, Fragment, checkpoint_folders, step_of
from ptm.checkpoint.verification import digest_of

if TYPE_CHECKING:
    from torch import Tensor

_BEFORE = ".before"
"""Suffix of a checkpoint while a new one of the same step replaces it."""


@dataclass(frozen=True)
class Retention:
    """Which checkpoints to keep: the newest `newest`, and steps that are multiples of `every`.

    The checkpoint named in the file `best` is kept as well.
    """

    newest: int
    every: int | None = None


def write_fragments(path: Path, pieces: Iterable[tuple[Fragment, Tensor]]) -> dict[str, Any]:
    """Write one rank's fragments as raw fp32; return the file's manifest entry."""
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


def write_manifest(
    aside: Path, shapes: Mapping[str, Sequence[int]], entries: Sequence[Mapping[str, Any]]
) -> None:
    """Write the manifest: the fragments and checksum of each file, after its own checksum."""
    manifest = {
        "format": FORMAT,
        "parameters": shapes,
        "kinds": sorted({piece["kind"] for entry in entries for piece in entry["fragments"]}),
        "files": entries,
        "run": digest_of((aside / RUN).read_bytes()),
    }
    text = json.dumps(manifest)
    write_synced(aside / MANIFEST, json.dumps({"blake2b": digest_of(text.encode())}) + "\n" + text)
    sync_folder(aside)


def remove_old_checkpoints(folder: Path, keeping: Retention) -> None:
    """Remove checkpoints that `keeping` does not keep.

    Each is renamed before it is removed, so that no folder with a checkpoint's name is incomplete.
    """
    best = folder / BEST
    kept = best.read_text(encoding="utf-8") if best.exists() else None
    for path in checkpoint_folders(folder)[keeping.newest :]:
        if path.name == kept or (keeping.every and step_of(path) % keeping.every == 0):
            continue
        doomed = path.with_name(f"{path.name}.partial")
        shutil.rmtree(doomed, ignore_errors=True)
        path.rename(doomed)
        shutil.rmtree(doomed)


def replace_folder(aside: Path, target: Path) -> None:
    """Rename `aside` to `target`, replacing a checkpoint of that name.

    The old one is renamed first, so that the old or the new one exists at any time.
    """
    before = target.with_suffix(_BEFORE)
    if target.exists():
        target.rename(before)
    aside.rename(target)
    shutil.rmtree(before, ignore_errors=True)


def clear_leftovers(folder: Path) -> None:
    """Remove what a killed save left in `folder`; restore a checkpoint it was about to replace."""
    for path in folder.glob(f"*{_BEFORE}"):
        target = path.with_suffix("")
        shutil.rmtree(path) if target.exists() else path.rename(target)
    for path in folder.glob("*.partial"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def write_synced(path: Path, text: str) -> None:
    """Write a file and fsync it, so that it survives a power cut once this returns."""
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, text: str) -> None:
    """Replace a small file atomically: it has the old or the new content at any time."""
    aside = path.with_name(path.name + ".partial")
    write_synced(aside, text)
    aside.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Fsync a folder, so that renames in it survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
