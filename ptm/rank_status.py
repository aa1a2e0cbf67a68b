"""The status file of a rank, as `ptm.train.rank_file` writes it and others read it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from pydantic import ConfigDict, TypeAdapter, with_config

_ENDED = "ended"


# Strict, as process ids and host names go into commands.
@with_config(ConfigDict(strict=True, extra="forbid"))
@dataclass(frozen=True)
class RankStatus:
    """The last status that a rank wrote to its file."""

    rank: int
    host: str
    pid: int
    time: float
    phase: str
    step: int
    steps: int | None = None
    """Steps of the whole run, once they are known."""
    code: int | None = None
    """Exit code; None before the rank has ended."""
    error: str | None = None
    """The exception that ended the rank, if any."""

    @property
    def ended(self) -> bool:
        """Whether the rank exited by itself, with success or an error, and was not killed."""
        return self.phase == _ENDED


_STATUS = TypeAdapter(RankStatus)


def parse_status(text: str) -> tuple[RankStatus, str | None]:
    """The status in a rank's file, and the id of its launch; None if no launcher started it.

    Raises ValueError if the text is not such a file.
    """
    try:
        fields = json.loads(text)
        launch = fields.pop("launch")
        return _STATUS.validate_json(json.dumps(fields)), launch
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("not the status file of a rank") from error
