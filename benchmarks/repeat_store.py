"""Make a large token store of a small one: its shards COPIES times, as links under other names.

python benchmarks/repeat_store.py stores/poems stores/large 15
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path


def main() -> None:
    """Write the store; print its size."""
    source, target, copies = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    target.mkdir(parents=True)
    manifest = json.loads((source / "store.json").read_text(encoding="utf-8"))
    shards = []
    for copy in range(copies):
        for shard in manifest["shards"]:
            name = re.sub(r"^shard-\d+", f"shard-{copy:05d}", shard["file"])
            os.link(source / shard["file"], target / name)
            shards.append({**shard, "file": name})
    manifest["shards"] = shards
    manifest["report"] = {key: copies * count for key, count in manifest["report"].items()}
    (target / "store.json").write_text(json.dumps(manifest), encoding="utf-8")
    print(f"{target}: {sum(shard['bytes'] for shard in shards) / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
