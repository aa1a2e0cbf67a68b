"""The files that come with ptm beside its package: recipes, ds_configs, launch, hostfile.example.

In a checkout they are in its root. A wheel installs them into `share/ptm` of the environment.
"""

from __future__ import annotations

from functools import cache
from importlib import metadata
from pathlib import Path, PurePosixPath

import ptm

_SHARE = "share/ptm/"
_SIGN = "ds_configs/zero0.json"
"""A file that is always among them."""


@cache
def bundled_root() -> Path | None:
    """The folder that has recipes/, ds_configs/ and launch/; None if they were removed."""
    checkout = Path(ptm.__file__).parents[1]
    if (checkout / _SIGN).is_file():
        return checkout
    try:
        files = metadata.files("ptm") or []
    except metadata.PackageNotFoundError:
        return None
    for file in files:
        if PurePosixPath(file).as_posix().endswith(_SHARE + _SIGN):
            found = Path(str(file.locate())).resolve().parents[1]
            return found if (found / _SIGN).is_file() else None
    return None


def bundled(path: str) -> Path | None:
    """The file or folder `path`, such as `ds_configs` or `launch/train.py`; None without it."""
    root = bundled_root()
    if root is None or not (root / path).exists():
        return None
    return root / path
