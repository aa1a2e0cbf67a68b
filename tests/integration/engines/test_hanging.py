"""If one rank hangs, the others end after engine.timeout_minutes and dump their last calls."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

from tests.integration.engines.trainings import zero
from tests.support.launched import Training, fork_ranks, listed, outcomes

SECONDS = 60


def test_a_rank_that_times_out_dumps_its_last_calls(store: Path, tmp_path: Path) -> None:
    endless = ("train.steps=1000000", "tracking.evaluate_every=1000000")
    training = Training("hangs", (zero(1), *endless, "engine.timeout_minutes=0.1"))
    plan, run = tmp_path / "plan.json", tmp_path / "hangs"
    plan.write_text(listed([training], store, tmp_path, ranks=2), encoding="utf-8")
    waits, hangs = fork_ranks(plan, ranks=2)
    try:
        end = time.monotonic() + SECONDS
        while not (run / "metrics.jsonl").exists():
            assert time.monotonic() < end, plan.with_name("output").read_text()
            time.sleep(0.05)
        assert hangs.pid is not None
        os.kill(hangs.pid, signal.SIGSTOP)
        waits.join(SECONDS)
        assert waits.exitcode == 1
    finally:
        for rank in (waits, hangs):
            rank.kill()
            rank.join()
    (ended,) = outcomes(tmp_path, 0)
    assert "time" in ended.message.lower(), ended.message
    last = json.loads((run / "ranks" / "rank00000.calls").read_text())["entries"][-1]
    assert last["profiling_name"].startswith("gloo:")
