"""A cache of index arrays on disk: built once, then memory-mapped by every run and rank."""

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
    """Return the arrays of `key`, memory-mapped; if they are not on disk, build and write them.

    Stored in `store/index/`, or in the user's cache folder if the store is read-only.
    `fingerprint`: that of the store, so that the index of a replaced store is never read.
    """
    folder = _folder(store) / f"{fingerprint[:16]}-{key}"
    while True:
        if not folder.is_dir():
            _write(folder, build())
        # Another process may remove the folder (`remove_arrays`) at any moment: build it again.
        with suppress(FileNotFoundError):
            found = {p.stem: np.load(p, mmap_mode="r") for p in sorted(folder.glob("*.npy"))}
            if found:
                return found


def remove_arrays(store: Path, fingerprint: str, key: str) -> None:
    """Remove the arrays of `key` from disk, if present; arrays that are open stay usable."""
    folder = _folder(store) / f"{fingerprint[:16]}-{key}"
    if not folder.is_dir():
        return
    aside = Path(tempfile.mkdtemp(prefix="leaving-", dir=folder.parent))
    try:
        folder.rename(aside / "arrays")
    except FileNotFoundError:
        # Another rank removed it first.
        assert not folder.is_dir(), f"{folder} cannot be moved"
    shutil.rmtree(aside, ignore_errors=True)


def stored_number(store: Path, fingerprint: str, key: str) -> int | None:
    """Return the number that `store_number` stored under `key`, or None."""
    try:
        return int((_folder(store) / f"{fingerprint[:16]}-{key}.number").read_text())
    except (FileNotFoundError, ValueError):
        # ValueError: cut short by a power failure. The caller computes it again.
        return None


def store_number(store: Path, fingerprint: str, key: str, number: int) -> None:
    """Store a number under `key` beside the arrays."""
    path = _folder(store) / f"{fingerprint[:16]}-{key}.number"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        file.write(str(number))
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)


@contextmanager
def build_lock(store: Path, fingerprint: str, key: str) -> Iterator[None]:
    """Hold a lock that processes on this store share, so that only one of them builds `key`."""
    path = _folder(store) / f"{fingerprint[:16]}-{key}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        # Without file locks, all processes build the same arrays, which is slow but correct.
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _folder(store: Path) -> Path:
    if os.access(store, os.W_OK):
        return store / "index"
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "ptm" / "index"


def _write(folder: Path, arrays: Arrays) -> None:
    """Write to a temporary folder and rename it, so that `folder` is always complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix="making-", dir=folder.parent))
    try:
        for name, array in arrays.items():
            np.save(aside / f"{name}.npy", np.asarray(array))
        aside.chmod(0o755)
        aside.rename(folder)
    except OSError:
        shutil.rmtree(aside, ignore_errors=True)
        # Another rank may have written it first; anything else is a real failure.
        if not folder.is_dir():
            raise
