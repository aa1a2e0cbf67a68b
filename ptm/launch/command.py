"""Options of `ptm launch`, the hosts and slots they select, and DeepSpeed's launcher command."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ptm.errors import UserError
from ptm.files.bundled import bundled
from ptm.launch.hosts import Slots, chosen, is_local_host, read_hostfile
from ptm.launch.rank_arguments import encode_arguments
from ptm.limits import MOST_SLOTS

Launcher = Literal["pdsh", "openmpi"]
_JOB_HOSTFILE = Path("/job/hostfile")
"""The hostfile that DeepSpeed reads if no other is given."""

_SCRIPT = "launch/train.py"
_UNCHANGED = re.compile(r"[\w@+=:,./-]*", re.ASCII)
"""Words that neither a shell nor pdsh changes; it replaces %h, %n and %u."""


@dataclass(frozen=True)
class Options:
    """Command-line options of `ptm launch`."""

    recipe: str
    overrides: Sequence[str] = ()
    fresh: bool = False
    verify: bool = False
    quiet: bool = False
    hostfile: str | None = None
    num_gpus: int | None = None
    include: str = ""
    exclude: str = ""
    launcher: Launcher = "pdsh"
    launcher_args: str = ""
    master_addr: str | None = None
    master_port: int | None = None

    def again(self) -> str:
        """The command line that resumes the run: the same options without `--fresh`."""
        named = {
            "--hostfile": self.hostfile,
            "--num-gpus": self.num_gpus,
            "--include": self.include,
            "--exclude": self.exclude,
            "--launcher": self.launcher if self.launcher != "pdsh" else None,
            "--launcher-args": self.launcher_args,
            "--master-addr": self.master_addr,
            "--master-port": self.master_port,
        }
        options = [f"{name}={value}" for name, value in named.items() if value not in (None, "")]
        return shlex.join(["ptm", "launch", *options, self.recipe, *self.overrides])


@dataclass(frozen=True)
class Target:
    """The hosts and slots on which ranks are started."""

    slots: Slots
    local: bool
    """Whether all ranks run on this machine, without ssh."""
    gpus: bool
    """Whether all ranks run on this machine and torch sees GPUs here."""

    @property
    def ranks(self) -> int:
        """Number of ranks to start."""
        return sum(len(slots) for slots in self.slots.values())

    @property
    def hosts(self) -> list[str]:
        """Hosts to reach over ssh, that of rank 0 first; empty if `local`."""
        return [] if self.local else list(self.slots)


def resolve_target(options: Options) -> Target:
    """Select hosts and slots from the options and the hostfile.

    Raises UserError for an invalid hostfile and for options that contradict each other or it.
    """
    if options.hostfile is None:
        if options.launcher != "pdsh" or options.launcher_args:
            raise UserError("--launcher and --launcher-args need --hostfile FILE.")
        ids = _local_gpus()
        wanted = (options.include, options.exclude, options.num_gpus)
        if ids:
            return Target(chosen({"localhost": ids}, *wanted), local=True, gpus=True)
        most = min(options.num_gpus or 1, MOST_SLOTS)
        if options.include or options.exclude:
            most = os.cpu_count() or 1
        # `chosen` rejects a --num-gpus below 1.
        pool = {"localhost": list(range(max(most, 1)))}
        return Target(chosen(pool, *wanted), local=True, gpus=False)
    hosts = read_hostfile(Path(options.hostfile))
    slots = chosen(hosts, options.include, options.exclude, options.num_gpus)
    if options.launcher == "openmpi":
        if slots != hosts:
            raise UserError(
                "--include, --exclude and --num-gpus are not supported with --launcher openmpi: "
                "mpirun uses the whole hostfile. Write another hostfile, or use --launcher pdsh."
            )
        return Target(slots, local=False, gpus=False)
    if len(slots) == 1 and is_local_host(next(iter(slots))):
        (ids,) = slots.values()
        return Target({"localhost": ids}, local=True, gpus=bool(_local_gpus()))
    return Target(slots, local=False, gpus=False)


def _local_gpus() -> list[int]:
    """Indexes of this machine's GPUs that CUDA_VISIBLE_DEVICES leaves visible."""
    import torch

    count = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not count or not visible:
        return list(range(count))
    words = visible.split(",")
    if not all(word.strip().isdigit() for word in words):
        raise UserError(
            f"CUDA_VISIBLE_DEVICES = {visible}: DeepSpeed's launcher accepts GPU indexes only. "
            "Set, for example, CUDA_VISIBLE_DEVICES=0,1."
        )
    return [int(word) for word in words][:count]


def launcher_command(options: Options, target: Target, *, address: str, port: int) -> list[str]:
    """The command that starts DeepSpeed's launcher; rank 0 listens at `address` and `port`."""
    # At level "error", the launcher logs each rank's command line after any exit code but 0, and 75
    # (stopped and saved) is no error.
    words = [sys.executable, "-m", "deepspeed.launcher.runner", "--log_level", "critical"]
    if target.local:
        if _JOB_HOSTFILE.is_file():
            words += ["--hostfile", os.devnull]
        ids = target.slots["localhost"]
        if target.gpus:
            words += ["--include", f"localhost:{','.join(map(str, ids))}"]
        else:
            words += ["--num_gpus", str(len(ids))]
    else:
        assert options.hostfile is not None, "other hosts come from a hostfile"
        # Without --force_multi, DeepSpeed trains on this machine if the hostfile lists one host.
        hostfile = str(Path(options.hostfile).absolute())
        words += ["--hostfile", hostfile, "--force_multi", "--no_ssh_check"]
        words += ["--launcher", options.launcher]
        if options.launcher_args:
            words += [f"--launcher_args={options.launcher_args}"]
        if options.num_gpus is not None:
            words += ["--num_gpus", str(options.num_gpus)]
        words += [f"--include={options.include}"] if options.include else []
        words += [f"--exclude={options.exclude}"] if options.exclude else []
        words += ["--master_addr", address]
    words += ["--master_port", str(port), *_program()]
    flags = {"--fresh": options.fresh, "--verify": options.verify, "--quiet": options.quiet}
    given = [flag for flag, is_given in flags.items() if is_given]
    rest = [options.recipe, *options.overrides, *given]
    if not target.local:
        # The shells of the other hosts would split or expand these arguments, and the folder.
        rest = [encode_arguments(rest, folder=Path.cwd())]
    return [*words, *rest]


def _program() -> list[str]:
    """The program of each rank: launch/train.py of a checkout, or else `python -m ptm train`."""
    script = bundled(_SCRIPT)
    if script is not None:
        return [str(script)]
    return ["--no_local_rank", "--module", "ptm", "train"]


def check_installation(target: Target, launcher: Launcher) -> None:
    """Raise UserError if Python or ptm is at a path that shells of other hosts would change.

    DeepSpeed passes both to pdsh without quotes.
    """
    if target.local or launcher != "pdsh":
        return
    script = bundled(_SCRIPT)
    for path in (sys.executable, *([str(script)] if script is not None else ())):
        if not _UNCHANGED.fullmatch(path):
            raise UserError(
                f"{path}: --launcher pdsh passes this path through the shells of the hosts, which "
                "would split or expand it. Install Python and ptm in a folder whose name has only "
                "letters of ASCII, digits and @+=:,./-, or use --launcher openmpi."
            )
