"""Checkpoints on local disks: found across hosts, then completed on each host.

Every rank writes to the disk of its host. To resume, hosts send each other the files they lack. A
run may therefore continue on other hosts or with another layout, as long as every file of one
checkpoint is whole on some host.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist

from ptm.checkpoint.format import MANIFEST, RUN, Checkpoint, checkpoint_folders, step_of
from ptm.checkpoint.verification import DamagedCheckpointError, digest_of
from ptm.engines.ranks import Ranks, all_gather_objects, run_on_all_ranks
from ptm.errors import UserError
from ptm.files.kinds import CHECKPOINT
from ptm.files.ownership import mark_folder
from ptm.files.writing import temporary_name

logger = logging.getLogger(__name__)

_CHUNK = 1 << 26


@dataclass(frozen=True)
class _Found:
    """A checkpoint on one host: digest of the manifest, all files, and files that are whole."""

    manifest: str
    files: tuple[str, ...]
    whole: frozenset[str]


def gather_newest_checkpoint(folder: Path, ranks: Ranks) -> Checkpoint | None:
    """Copy the newest complete checkpoint to every host and open it. Collective.

    A checkpoint is whole if each of its files is whole on some host. Returns None if no host has a
    checkpoint. Raises UserError if there are checkpoints, but none is whole.
    """
    every = all_gather_objects(_found(folder) if ranks.is_local_main else {}, ranks)
    names = {name for found in every for name in found}
    for name in sorted(names, key=lambda name: step_of(Path(name)), reverse=True):
        holders = _holders([found.get(name) for found in every])
        if holders is not None:
            run_on_all_ranks(ranks, partial(_send, folder / name, holders, ranks))
            return Checkpoint.open(folder / name, verify=False)
        logger.warning("checkpoint skipped: the hosts together do not have all its files: %s", name)
    if names:
        raise UserError(
            f"{folder}: the hosts together have no complete checkpoint "
            f"({', '.join(sorted(names))}). Include the host that has the missing files, or start "
            "from scratch with --fresh."
        )
    return None


def _found(folder: Path) -> dict[str, _Found]:
    found = {}
    for path in checkpoint_folders(folder):
        try:
            checkpoint = Checkpoint.open(path, verify=False)
        except DamagedCheckpointError as error:
            logger.warning("damaged checkpoint skipped: %s", error)
            continue
        found[path.name] = _Found(
            manifest=digest_of((path / MANIFEST).read_bytes()),
            files=(MANIFEST, RUN, *checkpoint.files),
            whole=frozenset({MANIFEST, RUN, *checkpoint.whole_files()}),
        )
    return found


def _holders(found: list[_Found | None]) -> dict[str, list[int]] | None:
    """The ranks that have each file of one checkpoint; None if a file is on no host.

    `found`: one entry per rank.
    """
    known = [one for one in found if one is not None]
    # Hosts may have different checkpoints of one name: try the files of each manifest.
    for manifest in dict.fromkeys(one.manifest for one in known):
        holders: defaultdict[str, list[int]] = defaultdict(list)
        for rank, one in enumerate(found):
            if one is not None and one.manifest == manifest:
                for file in one.whole:
                    holders[file].append(rank)
        files = next(one.files for one in known if one.manifest == manifest)
        if all(file in holders for file in files):
            return {file: holders[file] for file in files}
    return None


def _send(folder: Path, holders: dict[str, list[int]], ranks: Ranks) -> None:
    """Send every file to the hosts that lack it. Collective."""
    if ranks.is_local_main and not folder.exists():
        folder.mkdir(parents=True)
        mark_folder(folder, CHECKPOINT)
    firsts = [
        rank for rank, first in enumerate(all_gather_objects(ranks.is_local_main, ranks)) if first
    ]
    for file, having in holders.items():
        if set(having) >= set(firsts):
            continue
        lacks = ranks.is_local_main and ranks.rank not in having
        _broadcast(folder / file, source=having[0], ranks=ranks, writes=lacks)


def _broadcast(path: Path, *, source: int, ranks: Ranks, writes: bool) -> None:
    """Broadcast the file from rank `source`; ranks with `writes` store it. Collective.

    Raises OSError if it cannot be stored, after all ranks have received it.
    """
    sends = ranks.rank == source
    size = all_gather_objects(path.stat().st_size if sends else 0, ranks)[source]
    aside = temporary_name(path)
    problem: OSError | None = None
    with ExitStack() as files:
        reading = files.enter_context(path.open("rb")) if sends else None
        for at in range(0, size, _CHUNK):
            chunk = torch.empty(min(_CHUNK, size - at), dtype=torch.uint8)
            if reading is not None:
                reading.readinto(chunk.numpy().data)
            dist.broadcast(chunk, source)
            if writes and problem is None:
                problem = _append(aside, chunk, first=at == 0)
    if problem is not None:
        raise problem
    if writes:
        aside.replace(path)


def _append(path: Path, chunk: torch.Tensor, *, first: bool) -> OSError | None:
    """Write a chunk. An error is returned, as the other ranks still wait for this one."""
    try:
        with path.open("wb" if first else "ab") as file:
            file.write(chunk.numpy().data)
    except OSError as error:
        return error
    return None
