"""Stores in format 1, as earlier versions of ptm wrote them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from ptm.files.kinds import STORE
from ptm.files.ownership import mark_folder
from ptm.store.format import MANIFEST


def rewrite_as_format1(folder: Path) -> None:
    """Replace a store of format 2 by one of format 1 with the same documents."""
    manifest = folder / MANIFEST
    data = json.loads(manifest.read_text(encoding="utf-8"))
    data["format"] = 1
    for shard in data["shards"]:
        _rewrite_shard(folder / shard["file"], shard)
    text = json.dumps(data, ensure_ascii=False, indent=1)
    manifest.write_text(text, encoding="utf-8")
    digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    mark_folder(folder, STORE, identity=digest)


def _rewrite_shard(path: Path, shard: dict[str, Any]) -> None:
    """Write sentence and document ends instead of lengths; updates the manifest's `shard`."""
    old, new, sections = path.read_bytes(), bytearray(), []
    for section in shard["sections"]:
        name, dtype = section["name"], section["dtype"]
        array = np.frombuffer(old, dtype, section["count"], section["offset"])
        if name.endswith("_lengths"):
            name, array = name.replace("lengths", "ends"), np.cumsum(array, dtype="<i8")
        new += bytes(-len(new) % 8)
        place = {"dtype": array.dtype.str, "count": array.size, "offset": len(new)}
        sections.append({"name": name, **place})
        new += array.tobytes()
    path.write_bytes(new)
    digest = hashlib.blake2b(new, digest_size=16).hexdigest()
    shard.update(bytes=len(new), blake2b=digest, sections=sections)
