"""Whether the files of a checkpoint are what its manifest says: sizes and checksums."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class DamagedCheckpointError(Exception):
    """A checkpoint that is not whole; the message says what is wrong with it."""


def verify_file(path: Path, entry: Mapping[str, Any]) -> None:
    """Compare a file with the manifest's entry for it. Raises DamagedCheckpointError."""
    try:
        size = path.stat().st_size
        if size != entry["bytes"]:
            raise DamagedCheckpointError(f"{path}: has {size} bytes instead of {entry['bytes']}")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
    except OSError as error:
        raise DamagedCheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    if digest.hexdigest() != entry["blake2b"]:
        raise DamagedCheckpointError(f"{path}: its checksum does not fit the manifest")


def digest_of(data: bytes) -> str:
    """The checksum that manifests use."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()
