"""Check the files of a checkpoint against the sizes and checksums in its manifest."""

from __future__ import annotations

import hashlib
import math
import os
from collections import defaultdict
from pathlib import Path
from typing import BinaryIO

from ptm.checkpoint.manifest import WEIGHT, FileEntry, Manifest

_CHUNK = 1 << 22


class DamagedCheckpointError(Exception):
    """A checkpoint is incomplete or damaged; the message names the file and the damage."""


def verify_file(path: Path, file: BinaryIO, entry: FileEntry) -> None:
    """Check an opened file against its manifest entry. `path` is for messages.

    Raises DamagedCheckpointError if it differs.
    """
    try:
        size = os.fstat(file.fileno()).st_size
        if size != entry.bytes:
            raise DamagedCheckpointError(f"{path}: {size} bytes instead of {entry.bytes}")
        digest, at = hashlib.blake2b(digest_size=16), 0
        while data := os.pread(file.fileno(), _CHUNK, at):
            digest.update(data)
            at += len(data)
    except OSError as error:
        raise DamagedCheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    if digest.hexdigest() != entry.blake2b:
        raise DamagedCheckpointError(f"{path}: the checksum differs from the manifest")


def check_fragments(manifest: Manifest) -> str | None:
    """Return why the fragments do not hold every parameter exactly once, or None if they do.

    Optimizer states may have other sizes than their parameter, but no gaps either.
    """
    ranges: defaultdict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for entry in manifest.files:
        for one in entry.fragments:
            if one.name not in manifest.parameters:
                return f"{entry.file} holds {one.name}, which is not a parameter"
            if one.at + 4 * one.count > entry.bytes:
                return f"a fragment of {one.name} is past the end of {entry.file}"
            ranges[one.name, one.kind].append((one.start, one.start + one.count))
    if not manifest.parameters:
        return "the checkpoint holds no parameters"
    for name in manifest.parameters:
        if (name, WEIGHT) not in ranges:
            return f"no file holds the parameter {name}"
    for (name, kind), found in ranges.items():
        end = 0
        for start, stop in sorted(found):
            if start != end:
                return f"the fragments of {name} ({kind}) have a gap or overlap at {end}"
            end = stop
        if kind == WEIGHT and end != math.prod(manifest.parameters[name]):
            return f"the fragments of {name} hold {end} values"
    return None


def digest_of(data: bytes) -> str:
    """Return the checksum used in manifests: 128-bit BLAKE2b, hexadecimal."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()
