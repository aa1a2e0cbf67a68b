"""`profile/operations.json` in a run folder: where the time of the profiled steps went."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from ptm.errors import UserError
from ptm.files.reading import MEGABYTE, FileContentError, reason_of
from ptm.files.records import read_json

PROFILE = "profile"
"""The folder of a run that holds its profile."""
OPERATIONS, TRACE, MEMORY = "operations.json", "trace.json.gz", "memory.pickle"


class ProfiledOperation(BaseModel):
    """An operation of torch, with the time that it took itself, without the ones it called."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(max_length=1000)
    calls: int = Field(ge=0)
    cpu_seconds: float = Field(ge=0)
    device_seconds: float = Field(ge=0)


class Profile(BaseModel):
    """The profile of rank 0. `waiting`: seconds of the host, by what it waited for."""

    model_config = ConfigDict(extra="forbid", strict=True)

    device: str = Field(max_length=200)
    first_step: int = Field(ge=1)
    steps: int = Field(ge=1)
    seconds: float = Field(gt=0)
    waiting: dict[str, float]
    operations: list[ProfiledOperation] = Field(max_length=10_000)


def read_profile(run: Path) -> Profile:
    """Raises UserError if there is no run, it has no profile, or the profile's file is damaged."""
    if not run.is_dir():
        raise UserError(f"{run}: there is no such folder. Give the folder of a run.")
    path = run / PROFILE / OPERATIONS
    try:
        return read_json(path, Profile, limit=8 * MEGABYTE)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{run}: there is no profile. Train with train.profile={{start: 10, steps: 4}}, and "
            "wait until these steps are done."
        ) from None
    except (OSError, FileContentError) as error:
        raise UserError(f"{path}: the file is damaged: {reason_of(error)}.") from error
