"""The folder of a half-made store: whose it is, continued or cleared away, published when whole."""

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

WORK = "work.json"
"""What a half-made store is made from."""


@contextmanager
def cleared_if_refused(partial: Path) -> Iterator[None]:
    """Leave nothing of a corpus that was refused; keep what a full disk or a kill interrupted."""
    try:
        yield
    except WorkerKilledError:
        raise
    except UserError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    except OSError as error:
        raise UserError(
            f"{partial}: cannot be written: {error.strerror}. What is done is kept; run the same "
            "command again when that is mended."
        ) from error


def refuse_foreign(folder: Path, ours: str) -> None:
    """Raise UserError where something else than our own (empty or not) folder stands."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f'data.store: "{folder}" is a file; name a folder.')
    names = {path.name for path in folder.iterdir()} - {"lock"}
    if names and ours not in names:
        raise UserError(f'data.store: "{folder}" is a folder of something else; name another.')


def make_folder(folder: Path) -> None:
    """Make it and its parents. Raises UserError where that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'data.store: cannot make "{folder}": {error.strerror}.') from error


def existing(store: Path, description: dict[str, Any]) -> StoreInfo:
    """The manifest of a whole store. Raises UserError where it was made from something else."""
    info = TokenStore.open(store).info
    was = {
        "tokenizer": info.tokenizer,
        "target_tokenizer": info.target_tokenizer,
        "layout": info.layout,
        "segmenter": info.segmenter,
        "sentence_splitting": info.sentence_splitting,
        "corpus": list(info.corpus),
    }
    differing = [key.replace("_", " ") for key in description if was[key] != description[key]]
    if differing:
        how = " (paths, sizes and times of change are compared)" if "corpus" in differing else ""
        raise UserError(
            f'data.store: "{store}" was made with another {" and ".join(differing)}{how}. Name '
            "another store, or make this one anew with `ptm preprocess RECIPE --fresh`."
        )
    return info


def continue_or_clear(partial: Path, description: dict[str, Any], *, fresh: bool) -> None:
    """Keep the shards of a stopped run that did the same work; clear away any other's."""
    note = partial / WORK
    same = False
    if note.exists() and not fresh:
        try:
            same = json.loads(note.read_text(encoding="utf-8")) == description
        except ValueError:
            same = False
    if same:
        return
    for path in partial.iterdir():
        if path.name not in ("lock", WORK):
            path.unlink()
    note.write_text(json.dumps(description, ensure_ascii=False), encoding="utf-8")


def publish(partial: Path, store: Path, info: StoreInfo) -> None:
    """Give a whole store its own name, in place of any before it."""
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
