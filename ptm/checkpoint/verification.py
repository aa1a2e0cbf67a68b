"""Check the files of a checkpoint against the sizes and checksums in its manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class DamagedCheckpointError(Exception):
    """A checkpoint is incomplete or damaged; the message names the file and the damage."""


def verify_file(path: Path, entry: Mapping[str, Any]) -> None:
    """Check a file against its manifest entry. Raises DamagedCheckpointError if it differs."""
    try:
        size = path.stat().st_size
        if size != entry["bytes"]:
            raise DamagedCheckpointError(f"{path}: {size} bytes instead of {entry['bytes']}")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
    except OSError as error:
        raise DamagedCheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    if digest.hexdigest() != entry["blake2b"]:
        raise DamagedCheckpointError(f"{path}: the checksum differs from the manifest")


def digest_of(data: bytes) -> str:
    """Return the checksum used in manifests: 128-bit BLAKE2b, hexadecimal."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()
