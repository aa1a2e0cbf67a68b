"""A training over two hosts has the losses of one process, with each launcher."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from ptm.checkpoint.format import newest_checkpoint
from ptm.errors import EXIT_STOPPED
from ptm.recipe.batch import batch_plan
from tests.support.covers import by_default
from tests.support.small_runs import QUICKSTART, Calm, small_overrides
from tests.support.two_hosts import NIC, PROJECT, Ended, TwoHosts

SECONDS = 90
"""Time limit of a launch; most take about fifteen seconds."""
SMALL = ("train.steps=6", "tracking.log_every=1", "checkpoint.every=6")
SCRIPT = str(PROJECT / "launch" / "train.py")
DEEPSPEED = str(Path(sys.executable).with_name("deepspeed"))
OPENMPI = (
    "--launcher=openmpi",
    f"--launcher_args=--allow-run-as-root --mca btl_tcp_if_include {NIC} --bind-to none",
)


class Launch:
    """Trains over both hosts, into one folder of runs."""

    def __init__(self, hosts: TwoHosts, store: Path, runs: Path) -> None:
        self._hosts = hosts
        self._store = store
        self.runs = runs

    def __call__(
        self,
        name: str,
        *options: str,
        slots: int,
        overrides: Sequence[str],
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Ended:
        """Launch a training on both hosts from the first one."""
        command = self._command(name, options, slots, overrides)
        return self._hosts.run(command, seconds=SECONDS, meanwhile=meanwhile)[0]

    def by_hand(self, name: str, *, slots: int, overrides: Sequence[str]) -> list[Ended]:
        """Launch a training by one command on each host, without ssh."""
        address = self._hosts.hosts[0].address
        meeting = ("--no_ssh", f"--master_addr={address}", "--master_port=29555")
        commands = [
            self._command(name, (*meeting, f"--node_rank={node}"), slots, overrides)
            for node in range(2)
        ]
        return self._hosts.run(*commands, seconds=SECONDS)

    def _command(
        self, name: str, options: Sequence[str], slots: int, overrides: Sequence[str]
    ) -> list[str]:
        hostfile = str(self._hosts.hostfile(slots=slots))
        recipe = str(QUICKSTART / "roberta-tiny.yaml")
        small = small_overrides(self._store, self.runs, name, *SMALL, *overrides)
        return [
            *(DEEPSPEED, "--hostfile", hostfile, *options),
            *(SCRIPT, recipe, *small),
        ]

    def losses(self, name: str) -> list[dict[str, Any]]:
        lines = (self.runs / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def launch(hosts: TwoHosts, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Launch:
    return Launch(hosts, store, tmp_path_factory.mktemp("hosts"))


def same_losses(
    ended: Sequence[Ended],
    metrics: Callable[[], list[dict[str, Any]]],
    alone: list[dict[str, Any]],
    *,
    ranks: int,
    within: float = 1e-5,
) -> None:
    message = "\n".join(one.message for one in ended)
    assert [one.code for one in ended] == [0] * len(ended), message[-8000:]
    # One training on all ranks, and not several trainings on fewer ranks each.
    assert str(batch_plan(global_batch_size=8, max_micro_batch_size=4, ranks=ranks)) in message
    found = metrics()
    assert [one["step"] for one in found] == [one["step"] for one in alone]
    for actual, expected in zip(found, alone, strict=True):
        for key in [key for key in expected if key.endswith("loss")]:
            assert actual[key] == pytest.approx(expected[key], rel=within), (key, actual["step"])


ZERO = {stage: (f"engine.deepspeed=zero{stage}",) for stage in range(4)}
PIPELINE = ("engine.pipeline_stages=2", "engine.deepspeed=zero1")
BF16 = ("engine.precision=bf16",)
CASES = {
    # The first three have each launcher and each kind of engine once; all but the first are slow.
    "pdsh-1-slot-zero2": ("pdsh", 1, ZERO[2]),
    "openmpi-1-slot-bf16": ("openmpi", 1, (*BF16, *ZERO[2])),
    "by-hand-1-slot-pipeline": ("by hand", 1, PIPELINE),
    "pdsh-2-slots-zero3": ("pdsh", 2, ZERO[3]),
    "pdsh-1-slot-pipeline": ("pdsh", 1, PIPELINE),
    "openmpi-1-slot-zero0": ("openmpi", 1, ZERO[0]),
    "openmpi-2-slots-bf16": ("openmpi", 2, BF16),
    "by-hand-1-slot-zero3": ("by hand", 1, ZERO[3]),
}
DEFAULT = list(CASES)[:1]


@pytest.mark.parametrize("name", [by_default(name, DEFAULT) for name in CASES])
def test_two_hosts_have_the_losses_of_one_process(launch: Launch, calm: Calm, name: str) -> None:
    launcher, slots, overrides = CASES[name]
    precision = BF16 if BF16[0] in overrides else ()
    alone = calm(*SMALL, *precision)

    if launcher == "by hand":
        ended = launch.by_hand(name, slots=slots, overrides=overrides)
    else:
        options = OPENMPI if launcher == "openmpi" else ()
        ended = [launch(name, *options, slots=slots, overrides=overrides)]

    ranks = 1 if overrides == PIPELINE else 2 * slots
    within = 2e-3 if precision else 1e-5
    same_losses(ended, lambda: launch.losses(name), alone, ranks=ranks, within=within)


def test_a_signal_to_one_rank_stops_and_saves_the_training_of_all(
    launch: Launch, hosts: TwoHosts
) -> None:
    metrics = launch.runs / "stopped" / "metrics.jsonl"

    def signal_the_second_host() -> None:
        end = time.monotonic() + SECONDS
        while not (metrics.exists() and metrics.read_text()):
            assert time.monotonic() < end, "no report of the training"
            time.sleep(0.1)
        # The command line of launch.py ends in the script too, but begins with other words.
        commands = {pid: psutil.Process(pid).cmdline() for pid in hosts.hosts[1].processes()}
        (rank,) = [pid for pid, words in commands.items() if words[2:3] == [SCRIPT]]
        os.kill(rank, signal.SIGUSR1)

    ended = launch(
        "stopped",
        slots=1,
        overrides=["train.steps=3000", "tracking.evaluate_every=3000"],
        meanwhile=signal_the_second_host,
    )

    assert ended.code == EXIT_STOPPED, ended.message[-8000:]
    saved = newest_checkpoint(launch.runs / "stopped" / "checkpoints")
    assert saved is not None
    assert saved.step == launch.losses("stopped")[-1]["step"]
