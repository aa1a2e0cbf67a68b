"""Whether a folder is a run of ptm, so that no file of the user is overwritten."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ptm.errors import UserError
from ptm.files.kinds import RUN_FOLDER
from ptm.files.ownership import read_marker
from ptm.files.reading import FileContentError, read_text
from ptm.recipe import Recipe
from ptm.recipe.profile_file import PROFILE
from ptm.recipe.saved_files import (
    EVALUATIONS,
    EVENTS,
    SAMPLES,
    TARGET_TOKENIZER,
    TOKENIZER,
    read_recipe_data,
)

_WRITTEN = (
    "recipe.yaml",
    "ds_config.json",
    "environment.json",
    TOKENIZER,
    TARGET_TOKENIZER,
    "metrics.jsonl",
    EVENTS,
    SAMPLES,
    EVALUATIONS,
    "train.log",
    "checkpoints",
    "ranks",
    PROFILE,
    "stop",
    "tensorboard",
    "wandb",
    "wandb_run.json",
    "mlflow_run.json",
    "swanlog",
    "swanlab_run.json",
)
"""Files and folders that a training writes into its run folder or removes from it."""

LOCK = "lock"
"""Name of the lock file of a run."""
_HOLDER = re.compile(r"process \d+ on \S+")
"""Content of the lock file: the process that took the run last."""
_LOCK_BYTES = 4096


def check_own(folder: Path) -> None:
    """Raise UserError if `folder` was not made by ptm and holds a name that a run writes.

    Other files, such as a log that was redirected into it, do no harm.
    """
    # The marker is read last: a start that is under way writes it before anything else.
    foreign = _foreign_name(folder)
    if foreign is None or _is_own(folder):
        return
    raise UserError(
        f'{folder}: the folder is not a run of ptm, but contains "{foreign}", which a run would '
        "overwrite. Set another name or runs_dir."
    )


def _foreign_name(folder: Path) -> str | None:
    """A name in `folder` that a run writes, other than a lock of ptm; None without one."""
    for name in _WRITTEN:
        if os.path.lexists(folder / name):
            return name
    lock = folder / LOCK
    return LOCK if os.path.lexists(lock) and _holder(lock) is None else None


def _is_own(folder: Path) -> bool:
    """Whether `folder` has the marker of a run, or is a run of an earlier version without one.

    Such a run has a recipe, and checkpoints or a lock that names a process.
    """
    marker = read_marker(folder)
    if marker is not None:
        return marker.kind == RUN_FOLDER.name
    if not ((folder / "checkpoints").is_dir() or _holder(folder / LOCK)):
        return False
    required = {key for key, field in Recipe.model_fields.items() if field.is_required()}
    try:
        return required <= read_recipe_data(folder / "recipe.yaml").keys()
    except UserError:
        return False


def _holder(lock: Path) -> str | None:
    """The content of a lock file; None if it is absent or was not written by ptm."""
    if lock.is_symlink():
        return None
    try:
        content = read_text(lock, limit=_LOCK_BYTES)
    except (OSError, FileContentError):
        return None
    return content if not content or _HOLDER.fullmatch(content) else None
