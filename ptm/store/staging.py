"""The folder STORE.partial of an unfinished store: checked, resumed or cleared, and published."""

from __future__ import annotations

import glob
import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from ptm.errors import UserError
from ptm.escaping import shown_url
from ptm.files.kinds import MARKER, STORE, UNFINISHED_STORE
from ptm.files.ownership import (
    ForeignFileError,
    check_removable,
    mark_folder,
    read_marker,
    remove_files,
    remove_folder,
)
from ptm.files.reading import MEGABYTE, FileContentError, read_text
from ptm.files.records import read_json
from ptm.files.writing import sync_folder, temporary_name, temporary_target
from ptm.store.format import MANIFEST, StoreInfo, read_manifest
from ptm.store.reader import TokenStore, is_in_use
from ptm.store.sections import FORMAT
from ptm.store.workers import WorkerKilledError
from ptm.text.corpus import CUTTING, RemoteReadError

logger = logging.getLogger(__name__)

WORK_FILE = "work.json"
"""File with the settings and inputs of an unfinished store."""

_REPLACED = ".replaced"
"""Suffix of a store while a new one takes its place."""
_FINISHED_FILES = re.compile(r"store\.json|shard-\d{5,}-\d{6,}\.(bin|json|tmp)")
_NOTE_BYTES = 64 * MEGABYTE


_WORDS = {
    "target_tokenizer": "target tokenizer",
    "sentence_splitting": "sentence splitting",
    "labels": "set of labels",
    "ignored_labels": "set of ignored labels",
    "tag_scheme": "scheme of tags",
    "label_separator": "separator of labels",
}
"""Keys of the description of a store in words."""


@contextmanager
def clear_on_user_error(partial: Path) -> Iterator[None]:
    """Remove `partial` if the body raises UserError, as the input is wrong.

    Finished shards are kept if a worker is killed, a write or a server fails, or a file of the
    user is in the way, since the run can be resumed; OSError is raised again as UserError.
    """
    try:
        yield
    except (WorkerKilledError, ForeignFileError, RemoteReadError):
        raise
    except UserError:
        with suppress(OSError, ForeignFileError):
            remove_folder(partial, UNFINISHED_STORE)
        raise
    except OSError as error:
        raise UserError(
            f"{partial}: cannot be written: {error.strerror}. Finished shards are kept. Fix the "
            "cause and run the same command again."
        ) from error


def check_store_folder(store: Path) -> None:
    """Raise UserError unless a new store may take the place of `store`.

    It may if the folder is absent or empty, or a store of ptm that holds nothing else and that no
    other process reads.
    """
    if not os.path.lexists(store):
        return
    if not store.is_dir():
        raise UserError(f'data.store: "{store}" is a file. Set a folder.')
    if store.is_symlink():
        raise UserError(
            f'data.store: "{store}" is a symbolic link. A store is not written through a link: set '
            "the path of the folder itself."
        )
    if not any(store.iterdir()):
        return
    if not (store / MANIFEST).exists():
        raise UserError(
            f'data.store: "{store}" is not empty and is not a token store. Set another folder.'
        )
    check_removable(store, STORE)
    if read_marker(store) is None:
        _check_unmarked_store(store)
    if is_in_use(store):
        raise UserError(
            f'data.store: "{store}" is in use by a training or another command. Wait until it has '
            "ended, or set another path."
        )


def _check_unmarked_store(store: Path) -> None:
    """Raise UserError unless a folder without a marker holds what its manifest names.

    Stores of earlier versions have no marker.
    """
    foreign = f'data.store: "{store}" is not a store of ptm: '
    try:
        info = read_manifest(store)
    except UserError as error:
        raise UserError(
            f"{foreign}its {MANIFEST} is not a manifest of this version. Set another path."
        ) from error
    found = {path.name: path.stat().st_size for path in store.glob("shard-*.bin")}
    if found != {shard.file: shard.bytes for shard in info.shards}:
        raise UserError(
            f"{foreign}its shards are not those that {MANIFEST} names, or have other sizes. Set "
            "another path."
        )


def check_partial_folder(partial: Path) -> None:
    """Raise UserError unless `partial` is absent, empty, or an unfinished store of ptm."""
    if not os.path.lexists(partial):
        return
    if not partial.is_dir() or partial.is_symlink():
        raise UserError(
            f'data.store: "{partial}", where the store is written first, is not a folder of ptm. '
            "Set another path."
        )
    _unmark_killed(partial)
    check_removable(partial, UNFINISHED_STORE)
    names = {path.name for path in partial.iterdir()}
    if "lock" in names and (partial / "lock").stat().st_size == 0:
        # A start that was killed at once leaves nothing but its lock, which is always empty.
        names.remove("lock")
    # An empty marker is one that an earlier version left on a full disk.
    if names and MARKER not in names and not _has_own_settings(partial):
        raise UserError(
            f'data.store: "{partial}" is not empty and is not an unfinished store. Set another '
            "path."
        )


def _unmark_killed(partial: Path) -> None:
    """Mark `partial` as unfinished again if `publish` was killed before it renamed it.

    A finished store, which the user may have named so, has no lock.
    """
    marker = read_marker(partial)
    if marker is not None and marker.kind == STORE.name and (partial / "lock").is_file():
        mark_folder(partial, UNFINISHED_STORE)


def make_folder(folder: Path) -> None:
    """Create `folder` and its parents. Raises UserError if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'data.store: cannot create "{folder}": {error.strerror}.') from error


def matching_manifest(store: Path, description: dict[str, Any]) -> StoreInfo:
    """The manifest of a finished store. Raises UserError if it does not fit `description`."""
    opened = TokenStore.open(store)
    opened.verify_manifest()
    info = opened.info
    was = {
        "tokenizer": info.tokenizer,
        "target_tokenizer": info.target_tokenizer,
        "layout": info.layout,
        "segmenter": info.segmenter,
        "sentence_splitting": info.sentence_splitting,
        "labels": list(info.labels or ()),
        "ignored_labels": list(info.ignored_labels),
        "tag_scheme": info.tag_scheme,
        "label_separator": info.label_separator,
        "corpus": _corpus_of(info),
    }
    # A description has these keys only if there are any.
    wanted = {"ignored_labels": [], "label_separator": None, **description}
    differing = [_WORDS.get(key, key) for key in wanted if was[key] != wanted[key]]
    if differing:
        how = (
            " (paths, sizes, modification times, formats, encodings and fields are compared)"
            if "corpus" in differing
            else ""
        )
        raise UserError(
            f'data.store: "{store}" was made with another {" and ".join(differing)}{how}. Set '
            "another path, or replace this store with `ptm preprocess RECIPE --fresh`."
        )
    return info


def _corpus_of(info: StoreInfo) -> list[dict[str, Any]]:
    """The corpus files of a manifest, as this version writes them."""
    # Earlier versions kept the secrets of URLs.
    files = [{**file, "path": shown_url(file["path"])} for file in info.corpus]
    if all("format" not in file for file in files):
        # Stores of earlier versions name neither: they are all UTF-8 text.
        return [{"format": "text", "encoding": "utf-8", **file} for file in files]
    return files


def resume_or_clear(partial: Path, description: dict[str, Any], *, fresh: bool) -> None:
    """Keep the finished shards in `partial` if they can be reused; remove them otherwise.

    They can be reused if an interrupted `ptm preprocess` wrote them in the same format and cut the
    corpus by the same rules, with the same `description`, and `fresh` is false. Otherwise the new
    `description` is written. Logs a warning if another version wrote them.
    """
    rules = {"format": FORMAT, "cutting": CUTTING}
    note = partial / WORK_FILE
    check_removable(partial, UNFINISHED_STORE)
    found = _description_in(note)
    if not fresh and found == {**rules, **description}:
        return
    if not fresh and isinstance(found, dict) and found == {**found, **description}:
        logger.warning(
            "%s: another version of ptm began this store and cut the corpus into other blocks, or "
            "wrote other files. The preprocessing starts from the beginning.",
            partial,
        )
    description = {**rules, **description}
    remove_files(partial, _FINISHED_FILES)
    mark_folder(partial, UNFINISHED_STORE)
    note.write_text(json.dumps(description, ensure_ascii=False), encoding="utf-8")


class _CorpusFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    path: str
    bytes: int
    modified_ns: int
    format: str = "text"
    encoding: str = "utf-8"
    fields: list[str] = []
    quoting: bool = True
    columns: list[str] = []
    version: str = ""


class _Settings(BaseModel):
    """The content of `work.json`, by which an unfinished store without a marker is recognised."""

    model_config = ConfigDict(extra="forbid", strict=True)

    format: int = 1
    cutting: int = 1
    tokenizer: str
    target_tokenizer: str | None = None
    layout: str
    segmenter: dict[str, Any] | None = None
    sentence_splitting: bool = False
    labels: list[str] | None = None
    ignored_labels: list[str] = []
    tag_scheme: str | None = None
    corpus: list[_CorpusFile]


def _has_own_settings(partial: Path) -> bool:
    try:
        read_json(partial / WORK_FILE, _Settings, limit=_NOTE_BYTES)
    except (OSError, FileContentError):
        return False
    return True


def _description_in(note: Path) -> object:
    try:
        return json.loads(read_text(note, limit=_NOTE_BYTES))
    except (OSError, ValueError, RecursionError):
        return None


def publish(partial: Path, store: Path, info: StoreInfo) -> None:
    """Rename the finished folder `partial` to `store`, replacing an existing store.

    The old store is renamed first and removed last. If another process has opened it meanwhile, it
    stays under the other name. Files that only an unfinished store has are removed last too, so
    that a kill at any moment loses no finished shard. Raises ForeignFileError if `partial` holds a
    file of the user.
    """
    check_removable(partial, UNFINISHED_STORE)
    if os.path.lexists(store) and any(store.iterdir()):
        check_removable(store, STORE)
    digest = hashlib.blake2b((partial / MANIFEST).read_bytes(), digest_size=16)
    mark_folder(partial, STORE, identity=digest.hexdigest())
    if store.exists():
        store.rename(temporary_name(store, _REPLACED))
    partial.rename(store)
    sync_folder(store.parent)
    belongs = {MANIFEST, MARKER, *(shard.file for shard in info.shards)}
    surplus = {path.name for path in store.iterdir()} - belongs
    remove_files(store, re.compile("|".join(map(re.escape, surplus))))
    _remove_replaced(store)


def _remove_replaced(store: Path) -> None:
    """Remove the earlier stores that new ones at `store` replaced."""
    for old in sorted(store.parent.glob(f"{glob.escape(store.name)}.*{_REPLACED}")):
        if temporary_target(old, _REPLACED) != store:
            continue
        if is_in_use(old):
            logger.warning(
                "the old store was opened by a training meanwhile and is now %s. Remove it when "
                "the training has ended.",
                old,
            )
            continue
        try:
            remove_folder(old, STORE)
        except (OSError, UserError) as error:
            logger.warning("the old store stays on disk: %s", error)
