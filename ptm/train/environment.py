"""environment.json of a run: what its results may depend on besides the recipe."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import ptm
from ptm.recipe.origin import RecipeOrigin


def environment(data: str, hosts: Mapping[str, int], origin: RecipeOrigin) -> dict[str, Any]:
    """The environment of a run: versions, ranks per host, git commit, data fingerprint, and the
    recipe file with its overrides.
    """
    packages = ("torch", "deepspeed", "pydantic", "tokenizers", "numpy")
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "hosts": dict(hosts),
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {"ptm": ptm.__version__, **{name: metadata.version(name) for name in packages}},
        "git_commit": _git_commit(),
        "data_fingerprint": data,
        "recipe": None if origin.file is None else asdict(origin),
    }


def _git_commit() -> str | None:
    root = Path(ptm.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
