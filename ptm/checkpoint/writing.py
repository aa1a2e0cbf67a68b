"""Writing checkpoints atomically: each is complete or absent.

torch.distributed.checkpoint is not used: ZeRO's flat ranges would need a planner as long as this
module, and it has no checksums, no fsync and no folders on each host's local disk.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ptm.checkpoint.format import (
    BEST,
    FORMAT,
    MANIFEST,
    RUN,
    Fragment,
    checkpoint_folders,
    is_checkpoint_name,
    read_pointer,
    step_of,
)
from ptm.checkpoint.verification import digest_of
from ptm.errors import UserError
from ptm.files.kinds import CHECKPOINT, CHECKPOINT_LEFTOVERS
from ptm.files.ownership import check_removable, remove_files, remove_folder
from ptm.files.writing import sync_folder, temporary_name, temporary_target

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

_BEFORE, _PARTIAL = ".before", ".partial"
"""Suffixes of a checkpoint while a new one of the same step replaces it, and of one that is being
written or removed."""


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


def remove_old_checkpoints(folder: Path, keeping: Retention) -> dict[str, str]:
    """Remove checkpoints that `keeping` does not keep; return the reason for each that stays.

    Each is renamed before it is removed, so that no folder with a checkpoint's name is incomplete.
    A checkpoint that holds a file of the user, or is a link, stays as it is.
    """
    try:
        kept = read_pointer(folder, BEST)
    except UserError as error:
        return {BEST: str(error)}
    problems = {}
    for path in checkpoint_folders(folder)[keeping.newest :]:
        if path.name == kept or (keeping.every and step_of(path) % keeping.every == 0):
            continue
        try:
            check_removable(path, CHECKPOINT)
            doomed = temporary_name(path, _PARTIAL)
            path.rename(doomed)
            remove_folder(doomed, CHECKPOINT)
        except (OSError, UserError) as error:
            problems[path.name] = str(error)
    return problems


def replace_folder(aside: Path, target: Path) -> None:
    """Rename `aside` to `target`, replacing a checkpoint of that name.

    The old one is renamed first, so that the old or the new one exists at any time.
    """
    before = None
    if target.exists() or target.is_symlink():
        before = temporary_name(target, _BEFORE)
        target.rename(before)
    aside.rename(target)
    if before is not None:
        _remove_leftover(before)


def clear_leftovers(folder: Path) -> None:
    """Remove what a killed save left in `folder`; restore a checkpoint it was about to replace.

    What cannot be removed, or holds files of the user, stays and is named in a warning.
    """
    try:
        for path in sorted(folder.iterdir()):
            target = _leftover_of(path, _BEFORE)
            if target is not None and not target.exists():
                path.rename(target)
            elif target is not None or _leftover_of(path, _PARTIAL) is not None:
                _remove_leftover(path)
        remove_files(folder, CHECKPOINT_LEFTOVERS)
    except OSError as error:
        logger.warning("what an earlier save left cannot be removed: %s", error)


def _leftover_of(path: Path, suffix: str) -> Path | None:
    """The checkpoint of which `path` is a leftover with `suffix`, or None for other names."""
    # Earlier versions wrote names without the random part.
    target = temporary_target(path, suffix)
    if target is None and path.suffix == suffix:
        target = path.with_suffix("")
    return target if target is not None and is_checkpoint_name(target.name) else None


def _remove_leftover(path: Path) -> None:
    try:
        remove_folder(path, CHECKPOINT)
    except (OSError, UserError) as error:
        logger.warning("what an earlier save left cannot be removed: %s", error)


def write_synced(path: Path, text: str) -> None:
    """Write a file and fsync it, so that it survives a power cut once this returns."""
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
