"""`ptm verify`: read all checkpoints of a run and report the damaged ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ptm.checkpoint.format import checkpoint_folders, damage_of
from ptm.errors import UserError


@dataclass(frozen=True)
class CheckpointStatus:
    """A checkpoint, and its problem, or None if it is whole."""

    name: str
    problem: str | None


def verify_checkpoints(run: Path) -> Iterator[CheckpointStatus]:
    """Verify each checkpoint of `run`, the newest first. Raises UserError without any."""
    if not run.is_dir():
        raise UserError(f'"{run}" is not a folder. Give the folder of a run, runs/NAME.')
    folders = checkpoint_folders(run / "checkpoints")
    if not folders:
        raise UserError(f"{run}: the run has no checkpoint.")
    for folder in folders:
        try:
            yield CheckpointStatus(folder.name, damage_of(folder))
        except UserError as error:
            yield CheckpointStatus(folder.name, str(error))
