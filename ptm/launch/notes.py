"""Status files that the ranks of a launch write into the run folder (`ranks/`)."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from ptm.errors import UserError
from ptm.files.user_files import read_bytes, read_text
from ptm.launch.shell import run_on_hosts
from ptm.rank_status import RankStatus, parse_status

FOLDER = "ranks"
_MOST_BYTES = 2**20


class RankStatusFiles:
    """Reads the status files of one launch; ignores those of earlier launches."""

    def __init__(self, run: Path, launch: str, hosts: Sequence[str] = ()) -> None:
        """`hosts`: those to read over ssh, if each host has its own run folder."""
        self._folder = run / FOLDER
        self._launch = launch
        self._hosts = hosts

    def here(self) -> dict[int, RankStatus]:
        """Rank -> status, from the run folder on this host."""
        texts = []
        for path in sorted(self._folder.glob("rank*.json")):
            try:
                texts.append(read_text(path, most=_MOST_BYTES))
            except UserError:
                continue
        return self._of(texts)

    def everywhere(self) -> dict[int, RankStatus]:
        """Rank -> status, from the run folders on this host and on `hosts`."""
        where = shlex.quote(str(self._folder))
        script = f'for f in {where}/rank*.json; do cat "$f" && echo; done 2>/dev/null; exit 0'
        found = self.here()
        for result in run_on_hosts(self._hosts, script).values():
            found.update(self._of(result.out.splitlines()))
        return found

    def _of(self, texts: Sequence[str]) -> dict[int, RankStatus]:
        found = {}
        for text in texts:
            try:
                status, launch = parse_status(text)
            except ValueError:
                continue
            if launch == self._launch:
                found[status.rank] = status
        return found

    def calls(self) -> list[Path]:
        """Files with the last communication calls of ranks that failed (flight recorder)."""
        return sorted(self._folder.glob("*.calls"))

    def stacks(self, rank: int) -> list[str]:
        """Lines that Python's faulthandler wrote when a rank crashed; empty without a crash."""
        path = self._folder / f"rank{rank:05d}.stacks"
        try:
            data = read_bytes(path, most=_MOST_BYTES)
        except UserError:
            return []
        return data.decode("utf-8", errors="replace").splitlines()
