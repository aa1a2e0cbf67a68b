"""Checkpoints on disks that the hosts do not share: found on all of them, and made whole on each.

Every rank writes to its own host's disk. To go on, hosts send each other the files they lack, so
that a run may continue on other hosts or with another layout, as long as every file of one
checkpoint is left somewhere.
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
from ptm.engines.ranks import Ranks, agreed, objects_of_all
from ptm.errors import UserError

logger = logging.getLogger(__name__)

_CHUNK = 1 << 26


@dataclass(frozen=True)
class _Found:
    """A checkpoint as one host has it: which it is, its files, and those that are whole here."""

    manifest: str
    files: tuple[str, ...]
    whole: frozenset[str]


def gather_newest_checkpoint(folder: Path, ranks: Ranks) -> Checkpoint | None:
    """The newest checkpoint whose files are whole somewhere, then whole on every host.

    None where no host has any; called by all ranks. Raises UserError where none is whole.
    """
    every = objects_of_all(_found(folder) if ranks.first_on_host else {}, ranks)
    names = {name for found in every for name in found}
    for name in sorted(names, key=lambda name: step_of(Path(name)), reverse=True):
        holders = _holders([found.get(name) for found in every])
        if holders is not None:
            agreed(ranks, partial(_send, folder / name, holders, ranks))
            return Checkpoint.open(folder / name, verify=False)
        logger.warning("checkpoint passed over, as no host has the whole of it: %s", name)
    if names:
        raise UserError(
            f"{folder}: the hosts together have no whole checkpoint ({', '.join(sorted(names))}). "
            "Bring back the host that has the rest, or start anew with --fresh."
        )
    return None


def _found(folder: Path) -> dict[str, _Found]:
    found = {}
    for path in checkpoint_folders(folder):
        try:
            checkpoint = Checkpoint.open(path, verify=False)
        except DamagedCheckpointError as error:
            logger.warning("damaged checkpoint passed over: %s", error)
            continue
        found[path.name] = _Found(
            manifest=digest_of((path / MANIFEST).read_bytes()),
            files=(MANIFEST, RUN, *checkpoint.files),
            whole=frozenset({MANIFEST, RUN, *checkpoint.whole_files()}),
        )
    return found


def _holders(found: list[_Found | None]) -> dict[str, list[int]] | None:
    """The ranks that have each file of one checkpoint; None where a file is nowhere."""
    known = [one for one in found if one is not None]
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
    """Bring every file to every host that lacks it."""
    if ranks.first_on_host:
        folder.mkdir(parents=True, exist_ok=True)
    firsts = [
        rank for rank, first in enumerate(objects_of_all(ranks.first_on_host, ranks)) if first
    ]
    for file, having in holders.items():
        if set(having) >= set(firsts):
            continue
        lacks = ranks.first_on_host and ranks.rank not in having
        _broadcast(folder / file, source=having[0], ranks=ranks, writes=lacks)


def _broadcast(path: Path, *, source: int, ranks: Ranks, writes: bool) -> None:
    """Send the file of rank `source` to all; those with `writes` keep it.

    Raises OSError where it cannot be written, after all have received it.
    """
    sends = ranks.rank == source
    size = objects_of_all(path.stat().st_size if sends else 0, ranks)[source]
    aside = path.with_name(f"{path.name}.partial")
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
    """Write a chunk; what went wrong is returned, as others still wait for this rank."""
    try:
        with path.open("wb" if first else "ab") as file:
            file.write(chunk.numpy().data)
    except OSError as error:
        return error
    return None
