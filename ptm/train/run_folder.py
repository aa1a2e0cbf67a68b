"""The run folder: locked by one process group, with one recipe and one continuous history."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from ptm.checkpoint.writing import clear_leftovers
from ptm.errors import UserError
from ptm.files.kinds import EVALUATION_LEFTOVERS, RUN_FOLDER, RUN_LEFTOVERS
from ptm.files.locks import open_lock
from ptm.files.ownership import mark_folder, read_marker, remove_files
from ptm.files.writing import temporary_name, write_file
from ptm.recipe import Recipe, recipe_yaml, with_shown_urls
from ptm.recipe.saved_files import (
    EVALUATIONS,
    EVENTS,
    SAMPLES,
    TARGET_TOKENIZER,
    TOKENIZER,
    lines_up_to,
    read_recipe_data,
)
from ptm.text.tokenizers.files import copy_files
from ptm.train.environment import environment
from ptm.train.rank_file import clear_rank_files, previous_crash
from ptm.train.run_ownership import LOCK, check_own

logger = logging.getLogger(__name__)

# Keys that may differ when a run is continued. None of them changes what the model learns.
_MAY_DIFFER = (
    "engine.",
    "checkpoint.",
    "tracking.",
    "runs_dir",
    "train.micro_batch_size",
    "train.steps",
    "train.epochs",
    "train.wall_time_hours",
    "train.anomalies.",
    "train.profile",
    "data.workers",
)


class RunInUseError(UserError):
    """Another process trains in the run folder."""


class OtherRecipeError(UserError):
    """The run folder holds the run of another recipe; `found` says how it differs."""

    def __init__(self, found: str) -> None:
        super().__init__(
            f"{found}. Set another name, or use --fresh to rename the old run and start from "
            "scratch."
        )
        self.found = found


class RunFolder:
    """`runs/<name>`, locked from `acquire` until `release`."""

    def __init__(self, recipe: Recipe) -> None:
        self.path = Path(recipe.runs_dir) / recipe.name
        self._recipe = recipe
        self._lock: Any = None
        self._identity: tuple[int, int] | None = None

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        """metrics.jsonl: one JSON object per report."""
        return self.path / "metrics.jsonl"

    @property
    def log(self) -> Path:
        """train.log: the log messages of ptm and DeepSpeed."""
        return self.path / "train.log"

    @property
    def stop_file(self) -> Path:
        """Creating this file stops the run, as a signal does."""
        return self.path / "stop"

    def acquire(self, *, fresh: bool) -> None:
        """Lock the folder. With `fresh`, first set the existing run aside.

        Raises UserError if it cannot be created, is in use, or holds the run of another recipe.
        """
        # One command at a time: between the rename and the new folder, no other may begin.
        with _folder_lock(self.path.parent):
            check_own(self.path)
            if fresh and self.path.exists():
                self._set_aside()
            self._lock_exclusively()
        try:
            self._write_holder()
            self._check_same_recipe()
        except UserError:
            self._release()
            raise
        self._identity = _identity_of(self.path)
        if read_marker(self.path) is None:
            mark_folder(self.path, RUN_FOLDER)
        self._clear_leftovers()

    def _set_aside(self) -> None:
        """Rename the existing run. Its lock is held until this is done."""
        self._lock_exclusively()
        aside = self.path.with_name(f"{self.path.name}.{datetime.now():%Y%m%d-%H%M%S}")
        if aside.exists():
            aside = temporary_name(aside, "")
        self.path.rename(aside)
        self._release()
        logger.info("the old run was renamed to %s", aside)

    def _clear_leftovers(self) -> None:
        """Remove files of earlier starts. A file that cannot be removed does not stop the start."""
        crash = previous_crash(self.path)
        if crash is not None:
            logger.warning("%s", crash)
        try:
            self.stop_file.unlink(missing_ok=True)
            clear_rank_files(self.path)
            remove_files(self.path, RUN_LEFTOVERS)
            remove_files(self.path / EVALUATIONS, EVALUATION_LEFTOVERS)
        except OSError as error:
            logger.warning("a file of an earlier start cannot be removed: %s", error)
        if self.checkpoints.is_dir():
            clear_leftovers(self.checkpoints)

    @property
    def is_in_place(self) -> bool:
        """Whether the path still names the folder that was acquired."""
        return self._identity is None or _identity_of(self.path) == self._identity

    def check_writable(self, *, fresh: bool) -> None:
        """Raise the UserErrors of `acquire` that can be found without changing the folder.

        For the launcher: the ranks take the folder themselves.
        """
        check_own(self.path)
        if not os.path.lexists(self._lock_file):
            self._check_permissions()
            return
        self._lock_exclusively()
        try:
            if not fresh:
                self._check_same_recipe()
        finally:
            self._release()

    def _check_permissions(self) -> None:
        there = next(path for path in (self.path, *self.path.absolute().parents) if path.exists())
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            reason = os.strerror(errno.EACCES if there.is_dir() else errno.ENOTDIR)
            raise UserError(f"{self.path}: cannot create the run folder: {reason}.")

    @property
    def _lock_file(self) -> Path:
        return self.path / LOCK

    def _write_holder(self) -> None:
        self._lock.seek(0)
        self._lock.truncate()
        self._lock.write(f"process {os.getpid()} on {socket.gethostname()}")
        self._lock.flush()

    def _lock_exclusively(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = open_lock(self._lock_file)
        except OSError as error:
            raise UserError(
                f"{self.path}: cannot create the run folder: {error.strerror}."
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = self._lock.read().strip() or "another process"
            self._release()
            raise RunInUseError(
                f"{self.path}: the run folder is in use by {holder}. Wait for that process, stop "
                "it, or set another name."
            ) from error
        if not os.path.samestat(os.fstat(self._lock.fileno()), self._lock_file.stat()):
            self._release()
            raise UserError(
                f"{self.path}: another process has just renamed the run folder. Try again."
            )

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def release(self) -> None:
        """Release the lock."""
        self._release()

    def _check_same_recipe(self) -> None:
        written = self.path / "recipe.yaml"
        if not written.exists():
            return
        try:
            before = _flat(with_shown_urls(read_recipe_data(written)))
        except UserError as error:
            raise UserError(
                f"{error} Use --fresh to rename this run and start from scratch."
            ) from error
        now = _flat(with_shown_urls(self._recipe.model_dump(mode="json")))
        different = [
            f"{key}: {_shown(before.get(key))} in the run, {_shown(now.get(key))} in this recipe"
            for key in sorted(before.keys() | now.keys())
            if before.get(key) != now.get(key) and not key.startswith(_MAY_DIFFER)
        ]
        if different:
            raise OtherRecipeError(
                f"{self.path}: the folder contains the run of another recipe "
                f"({'; '.join(different)})"
            )

    def describe(
        self, recipe: Recipe, ds_config: Mapping[str, Any], *, data: str, hosts: Mapping[str, int]
    ) -> None:
        """Write recipe.yaml, ds_config.json, environment.json and the tokenizers' files.

        `data`: the store's fingerprint. `hosts`: number of ranks by host name.
        """
        (self.path / "recipe.yaml").write_text(recipe_yaml(recipe), encoding="utf-8")
        contents = {
            "ds_config": ds_config,
            "environment": environment(data, hosts, recipe.origin),
        }
        for name, content in contents.items():
            text = json.dumps(content, indent=1, ensure_ascii=False)
            (self.path / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        copy_files(recipe.tokenizer, self.path / TOKENIZER)
        if recipe.target_tokenizer is not None:
            copy_files(recipe.target_tokenizer, self.path / TARGET_TOKENIZER)

    def cut_history(self, step: int) -> None:
        """Drop reports, events and samples after `step`, and incomplete lines that a kill left."""
        for path in (self.metrics, self.path / EVENTS, self.path / SAMPLES):
            if path.is_file():
                write_file(path, "".join(f"{line}\n" for line in lines_up_to(path, step)))

    def check_free_space(self, needed: int) -> None:
        """Raise UserError if a checkpoint of `needed` bytes does not fit on the disk."""
        free = shutil.disk_usage(self.path).free
        if free < needed:
            raise UserError(
                f"{self.path}: the disk has {free / 1e6:.0f} MB free, but one checkpoint needs "
                f"{needed / 1e6:.0f} MB. Free some space or set runs_dir to a folder on another "
                "disk."
            )


def _identity_of(folder: Path) -> tuple[int, int] | None:
    """Device and inode of a folder; None if it does not exist."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def _folder_lock(folder: Path) -> Iterator[None]:
    """Hold a lock on the folder of all runs, for the moment in which a run folder is acquired."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        number = errno.ENOTDIR if isinstance(error, FileExistsError) else error.errno or 0
        raise UserError(
            f"{folder}: cannot create the run folder: {os.strerror(number)}."
        ) from error
    try:
        # Without locks on folders (NFS), the lock file in the run folder remains.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _flat(data: Any, at: str = "") -> dict[str, Any]:
    if data in ({}, []):
        # Treated as absent: an earlier version may not have had the key.
        return {}
    if not isinstance(data, dict):
        return {at: data}
    flat: dict[str, Any] = {}
    for key, value in data.items():
        flat.update(_flat(value, f"{at}.{key}" if at else str(key)))
    return flat


def _shown(value: Any) -> str:
    return "not set" if value is None else json.dumps(value, ensure_ascii=False)
