"""Commands of a suite as processes of their own, which a signal to the suite stops in order."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from ptm.errors import EXIT_INTERRUPTED, EXIT_STOPPED
from ptm.train.stopping import stop_with_parent

_POLL_SECONDS = 5.0


class Commands:
    """Runs one `ptm` command after another. Signals are passed to the one that runs.

    A training saves and ends then. After a signal no further command is started.
    """

    def __init__(self) -> None:
        self.code: int | None = None
        """The exit code that a signal requests; None before a signal."""
        self._child: subprocess.Popen[bytes] | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Commands:
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self.code is None:
            self.code = EXIT_INTERRUPTED if number == signal.SIGINT else EXIT_STOPPED
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)

    def run(
        self, words: Sequence[str], *, on_wait: Callable[[float], None] = lambda seconds: None
    ) -> int:
        """Run `ptm` with `words`; return its exit code.

        `on_wait` is called every few seconds, and at the end, with the seconds since the start.
        """
        if self.code is not None:
            return self.code
        return self._wait(self._start(words, None), on_wait)

    def output(self, words: Sequence[str]) -> tuple[int, str]:
        """Run `ptm` with `words`; return its exit code and what it printed on standard output."""
        if self.code is not None:
            return self.code, ""
        child = self._start(words, subprocess.PIPE)
        out, _ = child.communicate()
        return self._code_of(child.returncode), out.decode("utf-8")

    def _start(self, words: Sequence[str], out: int | None) -> subprocess.Popen[bytes]:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "ptm", *words],
            stdin=subprocess.DEVNULL,
            stdout=out,
            # Ctrl-C reaches the command once, through this process.
            start_new_session=True,
            # A suite that is killed leaves no training behind.
            preexec_fn=stop_with_parent,
        )
        return self._child

    def _wait(self, child: subprocess.Popen[bytes], on_wait: Callable[[float], None]) -> int:
        began = time.monotonic()
        while True:
            try:
                code = child.wait(_POLL_SECONDS)
            except subprocess.TimeoutExpired:
                on_wait(time.monotonic() - began)
                continue
            on_wait(time.monotonic() - began)
            return self._code_of(code)

    def _code_of(self, code: int) -> int:
        # A process that a signal ends has the negative number of the signal.
        return 128 - code if code < 0 else code
