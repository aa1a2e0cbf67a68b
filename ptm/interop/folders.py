"""Model folders: read a config.json, write a new folder atomically."""

from __future__ import annotations

import glob
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from ptm.errors import UserError
from ptm.files.kinds import MARKER, NEW_FOLDER
from ptm.files.ownership import make_temporary_folder, read_marker, remove_folder
from ptm.files.user_files import read_json
from ptm.files.writing import temporary_target

logger = logging.getLogger(__name__)


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield a new folder to fill; rename it to `out` on success, remove it on failure.

    Raises UserError if `out` exists or cannot be written.
    """
    check_absent(out)
    _report_leftovers(out)
    aside = None
    try:
        aside = make_temporary_folder(out, NEW_FOLDER)
        yield aside
        # Renaming onto an empty folder would replace it.
        check_absent(out)
        (aside / MARKER).unlink()
        aside.rename(out)
        aside = None
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{out}: cannot be written: {reason}.") from error
    finally:
        if aside is not None:
            with suppress(OSError, UserError):
                remove_folder(aside, NEW_FOLDER)


def _report_leftovers(out: Path) -> None:
    """Name the folders that killed commands left beside `out`; they are not removed."""
    for path in sorted(out.parent.glob(f"{glob.escape(out.name)}.*.partial")):
        with suppress(UserError):
            if temporary_target(path) == out and read_marker(path) is not None:
                logger.warning(
                    "%s was left by a command that was killed, or another command is writing it "
                    "now. Remove it if no command is.",
                    path,
                )


def check_absent(out: Path) -> None:
    """Raise UserError if `out` exists. Call it before any expensive work."""
    if out.exists() or out.is_symlink():
        raise UserError(f"{out}: already exists. Give another folder or remove this one.")


def read_config(path: Path) -> dict[str, Any]:
    """Return the parsed config. Raises UserError if it cannot be read or is not a JSON object."""
    config = read_json(path)
    if not isinstance(config, dict):
        raise UserError(f"{path}: the file is not a model config, which is a JSON object.")
    return config
