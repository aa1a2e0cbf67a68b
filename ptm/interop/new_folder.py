"""A folder that others will read: under its name whole, or not there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from ptm.errors import UserError


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Gives a folder to fill, which becomes `out` at the end and is gone after a failure.

    Raises UserError where `out` exists or cannot be written.
    """
    refuse_existing(out)
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


def refuse_existing(out: Path) -> None:
    """Raise UserError where `out` is there: better before the work than after it."""
    if out.exists():
        raise UserError(f"{out}: exists already; name another folder or remove it.")
