"""Model folders: read a config.json, write a new folder atomically."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from ptm.errors import UserError
from ptm.user_files import read_json


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield a folder to fill; rename it to `out` on success, delete it on failure.

    Raises UserError if `out` exists or cannot be written.
    """
    check_absent(out)
    aside = out.with_name(f"{out.name}.partial")
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        yield aside
        aside.rename(out)
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{out}: cannot be written: {reason}.") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def check_absent(out: Path) -> None:
    """Raise UserError if `out` exists. Call it before any expensive work."""
    if out.exists():
        raise UserError(f"{out}: already exists. Give another folder or remove this one.")


def read_config(path: Path) -> dict[str, Any]:
    """Return the parsed config. Raises UserError if it cannot be read or is not a JSON object."""
    config = read_json(path)
    if not isinstance(config, dict):
        raise UserError(f"{path}: the file is not a model config, which is a JSON object.")
    return config
