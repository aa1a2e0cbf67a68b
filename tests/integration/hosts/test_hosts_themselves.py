"""The two test hosts are isolated from each other and from this machine, and are removed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.leftovers import sweep
from tests.support.two_hosts import NAMES, NIC, PROJECT, TwoHosts
from tests.unit.launch.test_mpi import PRINT_VARIABLES

LEFT_BY_A_KILL = """
import sys, time
from tests.support.two_hosts import two_hosts
with two_hosts() as made:
    print(made.folder, *(host.init for host in made.hosts), flush=True)
    time.sleep(60)
"""


def test_each_host_has_a_name_an_address_and_processes_of_its_own(hosts: TwoHosts) -> None:
    script = "hostname; hostname -I; cat /proc/1/comm"

    (ended,) = hosts.run(["sh", "-c", f"ssh {NAMES[1]} '{script}'"], seconds=20)

    assert ended.message.split() == [NAMES[1], hosts.hosts[1].address, "sshd"]


def test_a_command_that_takes_too_long_is_killed_on_both_hosts(hosts: TwoHosts) -> None:
    # It prints a word on the other host before it sleeps there.
    command = ["sh", "-c", f"ssh {NAMES[1]} 'echo started; sleep 60'"]

    with pytest.raises(TimeoutError, match="started"):
        hosts.run(command, seconds=5)

    assert [host.processes() for host in hosts.hosts] == [[], []]


def test_the_next_process_removes_what_a_killed_process_has_left(hosts: TwoHosts) -> None:
    made = subprocess.Popen(
        [sys.executable, "-c", LEFT_BY_A_KILL], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert made.stdout is not None
        folder, *inits = made.stdout.readline().split()
    finally:
        made.send_signal(signal.SIGKILL)
        made.wait()
    assert Path(folder).exists()

    sweep()

    assert not Path(folder).exists()
    assert f"ptm{made.pid}" not in subprocess.check_output(["ip", "netns", "list"], text=True)
    running = [psutil.Process(int(pid)) for pid in inits if psutil.pid_exists(int(pid))]
    assert not psutil.wait_procs(running, timeout=10)[1]


def test_mpi_ranks_have_local_ranks_and_a_master_that_both_hosts_reach(hosts: TwoHosts) -> None:
    options = ["--allow-run-as-root", "--bind-to", "none", "--mca", "btl_tcp_if_include", NIC]
    exported = ["-x", "PATH", "-x", "PYTHONPATH", "-x", "OMP_NUM_THREADS"]
    hostfile = ["-n", "4", "-hostfile", str(hosts.hostfile(slots=2))]
    command = ["mpirun", *options, *exported, *hostfile, sys.executable, "-c", PRINT_VARIABLES]

    (ended,) = hosts.run(command, seconds=60)

    assert ended.code == 0, ended.message
    lines = [json.loads(line) for line in ended.message.splitlines() if line.startswith("{")]
    found = sorted(lines, key=lambda one: int(one["RANK"]))
    assert [one["RANK"] for one in found] == ["0", "1", "2", "3"]
    assert [one["LOCAL_RANK"] for one in found] == ["0", "1", "0", "1"]
    assert {(one["WORLD_SIZE"], one["LOCAL_SIZE"]) for one in found} == {("4", "2")}
    assert {one["MASTER_ADDR"] for one in found} == {hosts.hosts[0].address}
    assert len({one["MASTER_PORT"] for one in found}) == 1
