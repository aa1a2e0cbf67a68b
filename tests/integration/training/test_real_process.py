"""`ptm train` as a process that is killed and signalled, and ends as if it had not been.

All tests of this file start one run again and again, in their order: each signal ends it, the next
test goes on with it, and the last one compares its reports with those of a calm run.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ptm.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_STOPPED
from tests.support.small_runs import Calm, Runs

OVERRIDES = (
    *("train.steps=160", "checkpoint.every=20", "tracking.report_every=10"),
    "tracking.evaluate_every=40",
)
# After which checkpoint, and what the process then ends with.
SIGNALS = {
    signal.SIGKILL: (20, -signal.SIGKILL),
    signal.SIGTERM: (60, EXIT_STOPPED),
    signal.SIGINT: (100, EXIT_INTERRUPTED),
}
SECONDS = 100


@pytest.fixture(scope="module")
def rough(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(store, tmp_path_factory.mktemp("rough"))


def started(rough: Runs) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ptm", "train", *rough.arguments("run", *OVERRIDES)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_it(rough: Runs, number: signal.Signals) -> None:
    saved, expected = SIGNALS[number]
    process = started(rough)
    end = time.monotonic() + SECONDS
    while not (rough.folder / "run" / "checkpoints" / f"global_step{saved}").exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, "no checkpoint"
        time.sleep(0.02)
    process.send_signal(number)
    output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == expected, output
    assert "Traceback" not in output
    if expected > 0:
        assert "and saved; run the same command again to go on" in output


def test_it_ends_with_the_reports_of_a_calm_run(rough: Runs, calm: Calm) -> None:
    process = started(rough)
    output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == EXIT_DONE, output
    assert rough.metrics("run") == calm(*OVERRIDES)
