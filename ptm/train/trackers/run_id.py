"""The id of a run in a tracker, which its run folder stores so that a resumed run keeps it."""

from __future__ import annotations

import json
import logging
import uuid
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from ptm.files.reading import FileContentError, reason_of
from ptm.files.records import read_json
from ptm.files.writing import write_file
from ptm.validation import text_of

logger = logging.getLogger(__name__)

_RUN_ID_BYTES = 4096


class _SavedRun(BaseModel):
    """`<tracker>_run.json`: the id of the tracker's run."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str = text_of(r"^\w{1,64}$", "have 1 to 64 letters, digits and `_`")


def stored_run_id(kept: Path) -> str | None:
    """The id in the file `kept`; None if absent, or with a warning if damaged."""
    try:
        return read_json(kept, _SavedRun, limit=_RUN_ID_BYTES).id
    except FileNotFoundError:
        return None
    except (OSError, FileContentError) as error:
        logger.warning("%s is damaged (%s); a new run is started", kept, reason_of(error))
        return None


def store_run_id(kept: Path, run_id: str) -> None:
    """Write an id that the tracker has chosen into the file `kept`."""
    write_file(kept, json.dumps({"id": run_id}))


def own_run_id(kept: Path) -> str:
    """The run's id, created at its first start and stored in the file `kept`."""
    found = stored_run_id(kept)
    if found is None:
        found = uuid.uuid4().hex[:8]
        store_run_id(kept, found)
    return found
