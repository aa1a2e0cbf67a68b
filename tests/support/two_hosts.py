"""Two hosts on one machine, to test launchers for several hosts.

A host is a network namespace with its own address, host name, process ids and sshd; it shares the
file system of this machine. All names contain the id of this process, so that two runs of the tests
do not collide. A host dies with the process that made it. If that process was killed, the next one
removes the remaining namespaces and folders.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import torch

from tests.support.leftovers import (
    folder_of,
    kill,
    namespaces_of,
    output,
    processes,
    remove,
    search_path,
    sweep,
)

PROJECT = Path(__file__).parents[2]
NAMES = ("node-a", "node-b")
NIC = "eth0"
_ADDRESSES = ("10.77.0.1", "10.77.0.2")
_PROGRAMS = (
    *("ip", "sshd", "ssh", "ssh-keygen", "pdsh", "mpirun"),
    *("nsenter", "unshare", "setpriv", "hostname"),
)
_SSHD = """\
Port 22
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
PidFile none
"""
_SSH = """\
Host *
 IdentityFile {folder}/key
 IdentitiesOnly yes
 StrictHostKeyChecking no
 UserKnownHostsFile /dev/null
 LogLevel ERROR
 BatchMode yes
"""


def unavailable_reason() -> str | None:
    """The reason why two hosts cannot be made on this machine; None if they can."""
    if os.geteuid() != 0:
        return "two hosts need network namespaces, which only root can make"
    missing = [name for name in _PROGRAMS if shutil.which(name, path=search_path()) is None]
    if missing:
        return f"two hosts need programs that are not installed: {', '.join(missing)}"
    name = namespaces_of(os.getpid())[0]
    remove(os.getpid())
    try:
        output("ip", "netns", "add", name)
        output("ip", "-n", name, "link", "add", NIC, "type", "veth", "peer", "name", "eth1")
    except RuntimeError as error:
        return f"network namespaces are not permitted on this machine: {error}"
    finally:
        remove(os.getpid())
    return None


@dataclass(frozen=True)
class Host:
    """One of the two hosts."""

    name: str
    address: str
    namespace: str
    init: int
    """The host's process 1, by its id on this machine."""

    def processes(self) -> list[int]:
        """Process ids on the host, without its sshd."""
        keep = {self.init, psutil.Process(self.init).ppid()}
        return [pid for pid in processes(self.namespace) if pid not in keep]

    def kill_all(self) -> None:
        """Kill all processes of this host, and no others."""
        while left := self.processes():
            for pid in left:
                kill(pid)
            time.sleep(0.05)


@dataclass(frozen=True)
class Ended:
    """A launch that has ended."""

    code: int
    message: str


class TwoHosts:
    """Runs commands on the two hosts. Made by `two_hosts()`."""

    def __init__(self, folder: Path, hosts: Sequence[Host]) -> None:
        self.folder = folder
        self.hosts = hosts
        self._launches = 0

    def hostfile(self, *, slots: int) -> Path:
        """A hostfile for DeepSpeed and mpirun, with `slots` ranks per host."""
        path = self.folder / f"hostfile{slots}"
        path.write_text("".join(f"{host.name} slots={slots}\n" for host in self.hosts))
        return path

    def run(
        self,
        *commands: Sequence[str],
        seconds: float,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> list[Ended]:
        """Run the first command on the first host and the second on the second, in parallel.

        When the commands have ended, or after `seconds`, all processes on the hosts are killed.
        `meanwhile` is called while the commands run. Raises TimeoutError with the output.
        """
        self._launches += 1
        logs = [self.folder / f"launch{self._launches}{i}.log" for i in range(len(commands))]
        started = [
            _start(_inside(host, command), log, self._environment())
            for host, command, log in zip(self.hosts, commands, logs, strict=False)
        ]
        end = time.monotonic() + seconds
        try:
            meanwhile()
            codes = [process.wait(max(end - time.monotonic(), 0)) for process in started]
        except subprocess.TimeoutExpired as error:
            ends = "\n".join(log.read_text(errors="replace")[-4000:] for log in logs)
            raise TimeoutError(f"not done after {seconds} seconds:\n{ends}") from error
        finally:
            for host in self.hosts:
                host.kill_all()
            for process in started:
                process.wait()
        message = [log.read_text(errors="replace") for log in logs]
        return [Ended(*pair) for pair in zip(codes, message, strict=True)]

    def _environment(self) -> dict[str, str]:
        """The environment of the user's shell; other hosts get the variables launchers forward."""
        ours = re.compile(r"(RANK|WORLD_SIZE|LOCAL_.*|MASTER_.*|OMPI_.*|PMI.*|PRTE_.*)$")
        kept = {name: value for name, value in os.environ.items() if not ours.match(name)}
        env_file = self.folder / "deepspeed_env"
        for line in env_file.read_text().splitlines():
            name, _, value = line.partition("=")
            kept[name] = value
        return {**kept, "DS_ENV_FILE": str(env_file), "PYTHONPATH": str(PROJECT)}


@contextmanager
def two_hosts() -> Iterator[TwoHosts]:
    """Make two hosts; removes them at the end of the block, also after an error."""
    sweep()
    # An earlier process with the same id may have been killed.
    remove(os.getpid())
    folder = folder_of(os.getpid())
    try:
        folder.mkdir(mode=0o700)
        _write_files(folder)
        hosts = _make_hosts(folder)
        made = TwoHosts(folder, hosts)
        _await_sshd(made)
        yield made
    finally:
        remove(os.getpid())


def _write_files(folder: Path) -> None:
    for name in ("key", "host_key"):
        output("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name))
    (folder / "sshd_config").write_text(_SSHD.format(folder=folder))
    (folder / "ssh_config").write_text(_SSH.format(folder=folder))
    for name in ("bin", "tmp"):
        (folder / name).mkdir()
    # First on PATH: launchers call `ssh` and do not let users add an option such as -F.
    ssh = folder / "bin" / "ssh"
    ssh.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/ssh_config "$@"\n')
    ssh.chmod(0o755)
    values = {
        "PATH": f"{folder}/bin:{search_path()}",
        "TMPDIR": str(folder / "tmp"),
        "TORCH_EXTENSIONS_DIR": str(folder / "torch_extensions"),
        "OMP_NUM_THREADS": "1",
        "DS_ACCELERATOR": "cpu",
        "GLOO_SOCKET_IFNAME": NIC,
        "WANDB_MODE": "offline",
    }
    text = "".join(f"{name}={value}\n" for name, value in values.items())
    (folder / "deepspeed_env").write_text(text)


def _make_hosts(folder: Path) -> list[Host]:
    namespaces = namespaces_of(os.getpid())
    for namespace in namespaces:
        output("ip", "netns", "add", namespace)
        etc = Path("/etc/netns") / namespace
        etc.mkdir(parents=True)
        lines = zip(("127.0.0.1", *_ADDRESSES), ("localhost", *NAMES), strict=True)
        (etc / "hosts").write_text("".join(f"{address} {name}\n" for address, name in lines))
    # The two ends of one cable, neither of which is in this machine's own network.
    one, other = (("name", NIC, "netns", namespace) for namespace in namespaces)
    output("ip", "link", "add", *one, "type", "veth", "peer", *other)
    Path("/run/sshd").mkdir(exist_ok=True)
    hosts = []
    for namespace, name, address in zip(namespaces, NAMES, _ADDRESSES, strict=True):
        output("ip", "-n", namespace, "address", "add", f"{address}/24", "dev", NIC)
        for device in ("lo", NIC):
            output("ip", "-n", namespace, "link", "set", device, "up")
        hosts.append(Host(name, address, namespace, _boot(folder, namespace, name)))
    return hosts


def _boot(folder: Path, namespace: str, name: str) -> int:
    """Start a host's sshd as its process 1; returns the id of that process on this machine."""
    sshd = shutil.which("sshd", path=search_path())
    command = [
        # The host dies with this process: its process 1 is killed, and then all its processes.
        *("setpriv", "--pdeathsig", "KILL"),
        *("ip", "netns", "exec", namespace),
        *("unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"),
        *("sh", "-c", f"hostname {name}; exec {sshd} -D -e -f {folder}/sshd_config"),
    ]
    outer = _start(command, folder / f"sshd_{name}.log", {**os.environ, "PATH": search_path()})
    for _ in range(100):
        if outer.poll() is not None:
            break
        if children := psutil.Process(outer.pid).children():
            return children[0].pid
        time.sleep(0.05)
    raise RuntimeError((folder / f"sshd_{name}.log").read_text())


def _await_sshd(hosts: TwoHosts) -> None:
    tries = " && ".join(f"ssh {name} true" for name in NAMES)
    script = f"for i in $(seq 50); do {tries} && exit 0; sleep 0.1; done; exit 1"
    (ended,) = hosts.run(["sh", "-c", script], seconds=30)
    if ended.code:
        logs = "".join((hosts.folder / f"sshd_{name}.log").read_text() for name in NAMES)
        raise RuntimeError(f"no ssh from host to host: {ended.message}{logs}")


def _inside(host: Host, command: Sequence[str]) -> list[str]:
    enter = ("nsenter", f"--target={host.init}", "--net", "--uts", "--pid", "--mount")
    return [*enter, "env", "-C", str(PROJECT), *command]


def _start(
    command: Sequence[str], log: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    # In a separate session, so that Ctrl-C reaches the tests only, which end the process by its id.
    with log.open("wb") as out:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


@pytest.fixture(scope="session")
def hosts() -> Iterator[TwoHosts]:
    """Two hosts; skips the test, with the reason, if they cannot be made."""
    if torch.cuda.is_available():
        pytest.skip("two hosts on one machine would share its GPU, which NCCL does not support")
    reason = unavailable_reason()
    if reason is not None:
        pytest.skip(reason)
    with two_hosts() as made:
        yield made
