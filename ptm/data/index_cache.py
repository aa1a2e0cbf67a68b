"""Index arrays on disk: computed once, then memory-mapped by every run and every rank."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


def cached_arrays(store: Path, fingerprint: str, key: str, build: Callable[[], Arrays]) -> Arrays:
    """The arrays that `build` gives, from disk where an earlier call left them.

    They lie in `store/index/KEY`, or in the user's cache folder where the store is read-only.
    `fingerprint` is the store's: an index of another store of the same name is never read.
    """
    folder = _folder(store) / f"{fingerprint[:16]}-{key}"
    while True:
        if not folder.is_dir():
            _write(folder, build())
        # Another process that has no more use for it may remove it in any moment.
        with suppress(FileNotFoundError):
            found = {p.stem: np.load(p, mmap_mode="r") for p in sorted(folder.glob("*.npy"))}
            if found:
                return found


def forget_arrays(store: Path, fingerprint: str, key: str) -> None:
    """Remove what `cached_arrays` keeps under `key`, if it is there; who has it open keeps it."""
    folder = _folder(store) / f"{fingerprint[:16]}-{key}"
    if not folder.is_dir():
        return
    aside = Path(tempfile.mkdtemp(prefix="leaving-", dir=folder.parent))
    try:
        folder.rename(aside / "arrays")
    except FileNotFoundError:
        # Another rank was first.
        assert not folder.is_dir(), f"{folder} cannot be moved"
    shutil.rmtree(aside, ignore_errors=True)


def kept_number(store: Path, fingerprint: str, key: str) -> int | None:
    """What `keep_number` wrote under `key`, None where it wrote nothing."""
    try:
        return int((_folder(store) / f"{fingerprint[:16]}-{key}.number").read_text())
    except (FileNotFoundError, ValueError):
        # Torn by a power cut: it is computed again.
        return None


def keep_number(store: Path, fingerprint: str, key: str, number: int) -> None:
    """Keep a number beside the arrays."""
    path = _folder(store) / f"{fingerprint[:16]}-{key}.number"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        file.write(str(number))
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)


@contextmanager
def only_one(store: Path, fingerprint: str, key: str) -> Iterator[None]:
    """Hold this back while another process that works on the same store does the same.

    Ranks that need the same arrays do not all compute them: the others find them afterwards.
    """
    path = _folder(store) / f"{fingerprint[:16]}-{key}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        # Where the file system knows no locks, all do the same work, with the same result.
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _folder(store: Path) -> Path:
    if os.access(store, os.W_OK):
        return store / "index"
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "ptm" / "index"


def _write(folder: Path, arrays: Arrays) -> None:
    """Write aside and rename, so that a folder of this name is always whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix="making-", dir=folder.parent))
    try:
        for name, array in arrays.items():
            np.save(aside / f"{name}.npy", np.asarray(array))
        aside.chmod(0o755)
        aside.rename(folder)
    except OSError:
        shutil.rmtree(aside, ignore_errors=True)
        # Another rank may have been first; anything else is a real failure.
        if not folder.is_dir():
            raise
