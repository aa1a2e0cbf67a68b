"""A copy of the checkout in which the commands of a page are executed by bash."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

LIMIT = 600
"""Seconds after which a command counts as hanging."""


@dataclass(frozen=True)
class Result:
    """The end of a command: its exit code, and stdout and stderr as one text."""

    code: int
    output: str


@dataclass
class Checkout:
    """A copy of the project's files, and the variables that a page has set so far."""

    folder: Path
    variables: list[str] = field(default_factory=list)

    @classmethod
    def copy(cls, project: Path, folder: Path) -> Checkout:
        """Copy the files of the project that git knows or does not ignore."""
        words = ("git", "-C", str(project), "ls-files", "-z", "-co", "--exclude-standard")
        names = subprocess.run(words, check=True, capture_output=True).stdout.decode().split("\0")
        for name in filter(None, names):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if (project / name).is_file():
                shutil.copy(project / name, target)
        return cls(folder)

    def run(self, text: str, *, seconds: int | None = None) -> Result:
        """Execute `text`. After `seconds` it receives SIGINT, as from Ctrl-C."""
        script = "\n".join(("set -o pipefail", *self.variables, text))
        process = subprocess.Popen(
            ("bash", "-c", script),
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=seconds or LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGINT if seconds else signal.SIGKILL)
            output = _rest(process)
        return Result(process.returncode, output)

    def _environment(self) -> dict[str, str]:
        programs = str(Path(sys.executable).parent)
        return {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(self.folder),
            "HOME": str(self.folder / "home"),
            "LANG": "C.UTF-8",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "WANDB_MODE": "offline",
            "NO_COLOR": "1",
            "COLUMNS": "200",
        }


def _rest(process: subprocess.Popen[str]) -> str:
    """The output of a process that received a signal; it is killed after a minute."""
    try:
        return process.communicate(timeout=60)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.communicate()[0]
