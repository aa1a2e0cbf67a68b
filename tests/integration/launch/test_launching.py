"""Two ranks started by `ptm launch`: trained, stopped, killed, and the report at the end."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.launch.conftest import ENDLESS, Launch

SMALL = ("train.steps=6", "tracking.log_every=1", "checkpoint.every=6")
SECRET = "sekret123"
TWO = "--num-gpus=2"


def command_lines() -> str:
    found = []
    for process in psutil.process_iter():
        try:
            found += process.cmdline()
        except psutil.Error:
            continue
    return "\n".join(found)


def holds(folder: Path, text: str) -> list[Path]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in files if text.encode() in path.read_bytes()]


def test_two_ranks_have_the_losses_of_one_process_and_expose_no_secret(
    real_launch: Launch, calm: Callable[..., list[dict[str, Any]]]
) -> None:
    alone = calm(*SMALL)

    real_launch.start(TWO, *SMALL, WANDB_API_KEY=SECRET)
    while real_launch.process.poll() is None:
        assert SECRET not in command_lines()
        time.sleep(1)

    assert real_launch.wait() == 0, real_launch.output
    lines = (real_launch.run / "metrics.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    assert [one["step"] for one in found] == [one["step"] for one in alone]
    for actual, expected in zip(found, alone, strict=True):
        assert actual["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    assert "2 data-parallel ranks" in real_launch.output
    assert "deepspeed.launcher.runner" in real_launch.output
    assert holds(real_launch.run.parents[1], SECRET) == []


@pytest.mark.parametrize(
    ("number", "ranks", "code"),
    [(signal.SIGTERM, 2, 75), (signal.SIGINT, 1, 130)],
    ids=["SIGTERM", "Ctrl-C"],
)
def test_a_signal_stops_and_saves_and_leaves_no_process(
    launch: Launch, number: int, ranks: int, code: int
) -> None:
    launch.start(f"--num-gpus={ranks}", *ENDLESS)
    launch.until_training()

    launch.signal(number)

    assert launch.wait(60) == code, launch.output
    assert launch.saved_where_it_stopped(), launch.output
    assert "waiting for the checkpoint to be saved" in launch.output
    assert launch.processes() == []


def test_a_signal_to_one_rank_stops_and_saves_the_training(launch: Launch) -> None:
    launch.start(TWO, *ENDLESS)
    launch.until_training()

    os.kill(launch.note(1)["pid"], signal.SIGTERM)

    assert launch.wait(60) == 75, launch.output
    assert launch.saved_where_it_stopped(), launch.output
    assert launch.processes() == []


def test_a_stop_request_before_training_starts_ends_all_processes(launch: Launch) -> None:
    launch.start(TWO, *ENDLESS)
    launch.until(lambda: "deepspeed.launcher.runner" in launch.output, "command")

    launch.signal(signal.SIGTERM)

    assert launch.wait(60) == 75, launch.output
    assert "stopped before training started" in launch.output
    assert launch.processes() == []


def test_a_second_ctrl_c_kills_all_processes_immediately(launch: Launch) -> None:
    launch.start(TWO, *ENDLESS)
    launch.until_training()
    # Rank 1 can neither take a step nor save.
    os.kill(launch.note(1)["pid"], signal.SIGSTOP)

    launch.signal(signal.SIGINT)
    launch.until(lambda: (launch.run / "stop").exists(), "stop file")
    launch.signal(signal.SIGINT)

    assert launch.wait(10) == 130, launch.output
    assert launch.processes() == []


def test_a_killed_rank_is_named_with_its_signal_and_the_command_that_resumes(
    launch: Launch,
) -> None:
    launch.start(TWO, *ENDLESS)
    launch.until_training()
    note = launch.note(1)

    os.kill(note["pid"], signal.SIGKILL)

    assert launch.wait(30) == 1, launch.output
    last = [line for line in launch.output.splitlines() if line.startswith("ptm: ")][-3:]
    assert f"Rank 1 on {note['host']} (process {note['pid']}) was killed by signal 9" in last[0]
    assert f"at step {launch.note(1)['step']}, while" in last[0]
    assert "oom_kill" in last[0] or "memory" in last[0]
    assert str(launch.run / "checkpoints" / f"global_step{launch.checkpoint()}") in last[1]
    assert last[2].startswith("ptm: Resume with: ptm launch --num-gpus=2 ")
    assert launch.processes() == []


def test_the_report_on_a_crashed_rank_contains_its_stacks(launch: Launch) -> None:
    launch.start(TWO, *ENDLESS)
    launch.until_training()

    os.kill(launch.note(0)["pid"], signal.SIGSEGV)

    assert launch.wait(30) == 1, launch.output
    assert "was killed by signal 11 (SIGSEGV)" in launch.output
    after = launch.output.partition("was killed by signal 11")[2]
    assert "most recent call first" in after
    assert "stub_rank.py" in after
    assert launch.processes() == []


def test_ranks_save_and_exit_if_deepspeeds_launcher_is_killed(launch: Launch) -> None:
    launch.start(TWO, *ENDLESS)
    launch.until_training()
    rank_process = psutil.Process(launch.note(0)["pid"])
    launcher = rank_process.parent()
    assert launcher is not None
    assert "deepspeed.launcher.launch" in launcher.cmdline()

    launcher.kill()

    assert launch.wait(60) == 75, launch.output
    assert launch.saved_where_it_stopped(), launch.output
    assert "DeepSpeed's launcher was killed while ranks were running" in launch.output
    assert launch.processes() == []


def test_ranks_save_and_exit_if_ptm_launch_itself_is_killed(launch: Launch) -> None:
    launch.start(TWO, *ENDLESS)
    launch.until_training()

    launch.signal(signal.SIGKILL)

    assert launch.wait(10) == -signal.SIGKILL
    end = time.monotonic() + 40
    while launch.processes():
        assert time.monotonic() < end, launch.output
        time.sleep(0.2)
    assert launch.saved_where_it_stopped(), launch.output
    assert launch.note(0)["code"] == launch.note(1)["code"] == 75


def hang(launch: Launch, *, minutes: float) -> int:
    """Stop rank 1 until rank 0 has timed out waiting for it; returns the process id of rank 1."""
    launch.start(TWO, *ENDLESS, f"engine.timeout_minutes={minutes}")
    launch.until_training()
    stuck: int = launch.note(1)["pid"]
    os.kill(stuck, signal.SIGSTOP)
    waiting = psutil.Process(launch.note(0)["pid"])
    launch.until(lambda: not waiting.is_running() or waiting.status() == "zombie", "timeout")
    # DeepSpeed's launcher would kill the rank half a minute later.
    time.sleep(1)
    os.kill(stuck, signal.SIGKILL)
    return stuck


def the_rank_that_hung_is_named(launch: Launch, stuck: int) -> None:
    assert launch.wait(40) == 1, launch.output
    assert "longer than engine.timeout_minutes: 1 rank(s)." in launch.output
    host = launch.note(1)["host"]
    assert f"Probably waited for: Rank 1 on {host} (process {stuck})" in launch.output
    assert launch.processes() == []


def test_a_rank_that_hangs_is_named(launch: Launch) -> None:
    the_rank_that_hung_is_named(launch, hang(launch, minutes=0.05))


@pytest.mark.slow
def test_a_rank_that_hangs_is_named_with_the_calls_of_the_waiting_ranks(
    real_launch: Launch,
) -> None:
    the_rank_that_hung_is_named(real_launch, hang(real_launch, minutes=0.2))
    calls = real_launch.run / "ranks" / "rank00000.calls"
    assert f"Last communication calls of ranks: {calls}." in real_launch.output
    last = json.loads(calls.read_text())["entries"][-1]
    assert last["profiling_name"].startswith("gloo:")
