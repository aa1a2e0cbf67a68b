"""A file to which a training appends lines, and which may become impossible to write.

A full or failing disk must not end a training for the sake of its log. The failure is logged once.
The lines are kept in memory, and written when there is room again.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

logger = logging.getLogger(__name__)

_MOST_KEPT = 2**20
"""Bytes kept while the file cannot be written; later lines are counted as lost."""


class LineFile:
    """Appends whole lines, each with one write; never raises OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._kept = b""
        self._lost = 0
        self._failing = False

    def append(self, line: str) -> None:
        """Append one line, or keep it until the file can be written."""
        data = line.encode("utf-8", errors="backslashreplace") + b"\n"
        if self._failing and len(self._kept) + len(data) > _MOST_KEPT:
            self._lost += 1
        else:
            self._kept += data
        self._write()

    def close(self) -> None:
        """Write what is left and close the file; warn of lines that are lost."""
        self._write()
        if self._kept:
            lost, self._kept = self._kept.count(b"\n") + self._lost, b""
            logger.warning("%s: could not be written; lines lost: %d", self.path, lost)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _write(self) -> None:
        try:
            if self._descriptor is None:
                # O_NONBLOCK: opening a FIFO would wait for a reader.
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
                self._descriptor = os.open(self.path, flags, 0o666)
            while self._kept:
                # A nearly full disk takes a part of a line; the rest follows later.
                written = os.write(self._descriptor, self._kept)
                self._kept = self._kept[written:]
        except OSError as error:
            if not self._failing:
                # Set first: the warning may be written to this very file.
                self._failing = True
                logger.warning(
                    "%s: cannot be written (%s); training continues, and the missing lines are "
                    "written when that is possible again",
                    self.path,
                    error.strerror,
                )
            return
        if self._failing:
            self._failing = False
            lost, self._lost = self._lost, 0
            logger.info("%s: can be written again; lines lost: %d", self.path, lost)


class LineFileHandler(logging.Handler):
    """Appends log messages to a `LineFile`."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = LineFile(path)

    def emit(self, record: logging.LogRecord) -> None:
        self._file.append(self.format(record))

    def close(self) -> None:
        """Write what is left and close the file."""
        self._file.close()
        super().close()
