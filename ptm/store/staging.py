"""The folder STORE.partial of an unfinished store: checked, resumed or cleared, and published."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ptm.errors import UserError
from ptm.store.format import MANIFEST, StoreInfo, TokenStore
from ptm.store.workers import WorkerKilledError

WORK_FILE = "work.json"
"""File with the settings and inputs of an unfinished store."""


_WORDS = {
    "target_tokenizer": "target tokenizer",
    "sentence_splitting": "sentence splitting",
    "labels": "set of labels",
}
"""Keys of the description of a store in words."""


@contextmanager
def clear_on_user_error(partial: Path) -> Iterator[None]:
    """Remove `partial` if the body raises UserError, as the input is wrong.

    Finished shards are kept if a worker is killed or a write fails, since the run can be resumed;
    OSError is raised again as UserError.
    """
    try:
        yield
    except WorkerKilledError:
        raise
    except UserError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    except OSError as error:
        raise UserError(
            f"{partial}: cannot be written: {error.strerror}. Finished shards are kept. Fix the "
            "cause and run the same command again."
        ) from error


def check_own_folder(folder: Path, ours: str) -> None:
    """Raise UserError unless `folder` is absent, empty or contains the file `ours`."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f'data.store: "{folder}" is a file. Set a folder.')
    names = {path.name for path in folder.iterdir()} - {"lock"}
    if names and ours not in names:
        raise UserError(
            f'data.store: "{folder}" is not empty and is not a token store. Set another folder.'
        )


def make_folder(folder: Path) -> None:
    """Create `folder` and its parents. Raises UserError if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'data.store: cannot create "{folder}": {error.strerror}.') from error


def matching_manifest(store: Path, description: dict[str, Any]) -> StoreInfo:
    """The manifest of a finished store. Raises UserError if it does not fit `description`."""
    info = TokenStore.open(store).info
    was = {
        "tokenizer": info.tokenizer,
        "target_tokenizer": info.target_tokenizer,
        "layout": info.layout,
        "segmenter": info.segmenter,
        "sentence_splitting": info.sentence_splitting,
        "labels": list(info.labels or ()),
        "corpus": list(info.corpus),
    }
    differing = [_WORDS.get(key, key) for key in description if was[key] != description[key]]
    if differing:
        how = " (paths, sizes and modification times are compared)" if "corpus" in differing else ""
        raise UserError(
            f'data.store: "{store}" was made with another {" and ".join(differing)}{how}. Set '
            "another path, or replace this store with `ptm preprocess RECIPE --fresh`."
        )
    return info


def resume_or_clear(partial: Path, description: dict[str, Any], *, fresh: bool) -> None:
    """Keep the finished shards in `partial` if they can be reused; remove them otherwise.

    They can be reused if an interrupted `ptm preprocess` wrote them with the same `description`
    and `fresh` is false. Otherwise the new `description` is written.
    """
    note = partial / WORK_FILE
    same = False
    if note.exists() and not fresh:
        try:
            same = json.loads(note.read_text(encoding="utf-8")) == description
        except ValueError:
            same = False
    if same:
        return
    for path in partial.iterdir():
        if path.name not in ("lock", WORK_FILE):
            path.unlink()
    note.write_text(json.dumps(description, ensure_ascii=False), encoding="utf-8")


def publish(partial: Path, store: Path, info: StoreInfo) -> None:
    """Rename the finished folder `partial` to `store`, replacing an existing store."""
    belongs = {MANIFEST, *(shard.file for shard in info.shards)}
    for path in partial.iterdir():
        if path.name not in belongs:
            path.unlink()
    if store.exists():
        shutil.rmtree(store)
    partial.rename(store)
    folder = os.open(store.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
