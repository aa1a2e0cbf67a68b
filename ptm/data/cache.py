"""Index arrays on disk: computed once, then memory-mapped by every run and every rank."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
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
    if not folder.is_dir():
        _write(folder, build())
    return {path.stem: np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.npy"))}


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
