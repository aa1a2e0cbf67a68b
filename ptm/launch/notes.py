"""What the ranks of a launch have noted of themselves in the run folder."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ptm.launch.shell import on_hosts

FOLDER = "ranks"
_ENDED = "ended"


@dataclass(frozen=True)
class Note:
    """A rank's last words."""

    rank: int
    host: str
    pid: int
    time: float
    phase: str
    step: int
    code: int | None = None
    error: str | None = None

    @property
    def ended(self) -> bool:
        """Whether it came to its end, good or bad, and was not killed."""
        return self.phase == _ENDED


class Notes:
    """Reads them; those of an earlier start do not count."""

    def __init__(self, run: Path, launch: str, hosts: Sequence[str] = ()) -> None:
        """`hosts`: where each host has a run folder of its own."""
        self._folder = run / FOLDER
        self._launch = launch
        self._hosts = hosts

    def here(self) -> dict[int, Note]:
        """Those in the folder as it is seen from here."""
        texts = []
        for path in sorted(self._folder.glob("rank*.json")):
            try:
                texts.append(path.read_text(encoding="utf-8"))
            except OSError:
                continue
        return self._of(texts)

    def everywhere(self) -> dict[int, Note]:
        """Also those that other hosts keep to themselves."""
        where = shlex.quote(str(self._folder))
        script = f'for f in {where}/rank*.json; do cat "$f" && echo; done 2>/dev/null; exit 0'
        found = self.here()
        for said in on_hosts(self._hosts, script).values():
            found.update(self._of(said.out.splitlines()))
        return found

    def _of(self, texts: Sequence[str]) -> dict[int, Note]:
        found = {}
        for text in texts:
            try:
                told = json.loads(text)
                if told.pop("launch") == self._launch:
                    found[told["rank"]] = Note(**told)
            except (ValueError, KeyError, TypeError):
                continue
        return found

    def calls(self) -> list[Path]:
        """Where ranks that failed have left their last calls to others."""
        return sorted(self._folder.glob("*.calls"))

    def stacks(self, rank: int) -> list[str]:
        """What Python's faulthandler has written of a rank that crashed."""
        path = self._folder / f"rank{rank:05d}.stacks"
        try:
            return path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []
