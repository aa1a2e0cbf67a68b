"""`ptm train` as a process that is killed or signalled, resumed, and compared with a calm run.

The tests of this file continue one run, in their order: each signal ends it, the next test resumes
it, and the last test compares its reports with those of an undisturbed run.
"""

from __future__ import annotations

import os
import signal
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from ptm.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_STOPPED
from ptm.runs.status import run_status
from tests.support.launched import fork_command
from tests.support.small_runs import Calm, Runs

OVERRIDES = (
    *("train.steps=160", "checkpoint.every=20", "tracking.log_every=10"),
    "tracking.evaluate_every=40",
)
# The step of the checkpoint after which the signal is sent, and the expected exit code.
SIGNALS = {
    signal.SIGKILL: (20, -signal.SIGKILL),
    signal.SIGTERM: (60, EXIT_STOPPED),
    signal.SIGINT: (100, EXIT_INTERRUPTED),
}
SECONDS = 100


@pytest.fixture(scope="module")
def rough(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(store, tmp_path_factory.mktemp("rough"))


def started(rough: Runs) -> ForkServerProcess:
    log = rough.folder / "log"
    return fork_command(["train", *rough.arguments("run", *OVERRIDES)], log=log)


def ended(process: ForkServerProcess, rough: Runs) -> tuple[int | None, str]:
    """The exit code of the process, and its output."""
    process.join(SECONDS)
    code = process.exitcode
    process.kill()
    log = rough.folder / "log"
    output = log.read_text(encoding="utf-8", errors="replace")
    log.unlink()
    return code, output


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_process_with_its_exit_code(rough: Runs, number: signal.Signals) -> None:
    saved, expected = SIGNALS[number]
    process = started(rough)
    end = time.monotonic() + SECONDS
    while not (rough.folder / "run" / "checkpoints" / f"global_step{saved}").exists():
        assert process.is_alive(), ended(process, rough)
        assert time.monotonic() < end, "no checkpoint"
        time.sleep(0.02)
    assert process.pid is not None
    os.kill(process.pid, number)
    code, output = ended(process, rough)
    assert code == expected, output
    assert "Traceback" not in output
    assert run_status(rough.folder / "run").state == ("stopped" if expected > 0 else "died")
    if expected > 0:
        assert "and saved; run the same command again to continue" in output


def test_the_resumed_run_ends_with_the_reports_of_an_undisturbed_one(
    rough: Runs, calm: Calm
) -> None:
    code, output = ended(started(rough), rough)
    assert code == EXIT_DONE, output
    assert rough.metrics("run") == calm(*OVERRIDES)
