"""All checkpoints of a run, whole or damaged, without a training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ptm.checkpoint.format import checkpoint_folders, problem_with
from ptm.errors import UserError


@dataclass(frozen=True)
class Verified:
    """A checkpoint, and what is wrong with it, if anything is."""

    name: str
    problem: str | None


def verified(run: Path) -> Iterator[Verified]:
    """Read each checkpoint of `run` whole, the newest first. Raises UserError without any."""
    if not run.is_dir():
        raise UserError(f'"{run}" is not a folder; a run is runs/NAME.')
    folders = checkpoint_folders(run / "checkpoints")
    if not folders:
        raise UserError(f"{run}: has no checkpoint.")
    for folder in folders:
        try:
            yield Verified(folder.name, problem_with(folder))
        except UserError as error:
            yield Verified(folder.name, str(error))
