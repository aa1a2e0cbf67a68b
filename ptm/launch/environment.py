"""Environment variables for ranks on other hosts, forwarded without exposing secrets.

Launchers put the variables they forward into command lines, which `ps` shows to all users of a host
and which DeepSpeed logs. No rule recognises a secret by its name, so the names that may be
there are listed: those of `ON_COMMAND_LINES`, with values that no shell changes. `ptm launch`
writes them into a DS_ENV_FILE. Everything else is piped over ssh into a file in `~/.cache/ptm/`
that only its owner can read. `ptm train` reads that file, and `ptm launch` removes it when all
ranks have started.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ptm.errors import UserError
from ptm.limits import MOST_HOSTFILE_BYTES
from ptm.user_files import read_json, read_lines

logger = logging.getLogger(__name__)

LAUNCH = "PTM_LAUNCH"
"""Environment variable with the id of the launch; all its processes inherit it."""
SENT = "PTM_ENV_FILE"
"""Environment variable with the name of the file in ~/.cache/ptm that was sent to each host."""

_LISTED = """
PATH LD_LIBRARY_PATH PYTHONPATH
PYTHONHASHSEED PYTHONUNBUFFERED PYTHONDONTWRITEBYTECODE PYTHONIOENCODING PYTHONUTF8
PYTHONFAULTHANDLER PYTHONNOUSERSITE
CUDA_VISIBLE_DEVICES CUDA_DEVICE_ORDER CUDA_LAUNCH_BLOCKING CUDA_HOME CUDA_DEVICE_MAX_CONNECTIONS
DS_ACCELERATOR TOKENIZERS_PARALLELISM WANDB_MODE HF_HUB_OFFLINE TRANSFORMERS_OFFLINE
OMP_NUM_THREADS OMP_WAIT_POLICY OMP_PROC_BIND OMP_PLACES OMP_SCHEDULE OMP_DYNAMIC
TORCH_EXTENSIONS_DIR TORCH_CUDA_ARCH_LIST TORCH_NCCL_ASYNC_ERROR_HANDLING TORCH_NCCL_BLOCKING_WAIT
GLOO_SOCKET_IFNAME GLOO_DEVICE_TRANSPORT UCX_TLS UCX_NET_DEVICES
NCCL_DEBUG NCCL_DEBUG_SUBSYS NCCL_SOCKET_IFNAME NCCL_SOCKET_FAMILY NCCL_SOCKET_NTHREADS
NCCL_NSOCKS_PERTHREAD NCCL_ALGO NCCL_PROTO NCCL_NTHREADS NCCL_MIN_NCHANNELS NCCL_MAX_NCHANNELS
NCCL_BUFFSIZE NCCL_NET NCCL_NET_GDR_LEVEL NCCL_NET_GDR_READ NCCL_P2P_DISABLE NCCL_P2P_LEVEL
NCCL_SHM_DISABLE NCCL_CROSS_NIC NCCL_COLLNET_ENABLE NCCL_NVLS_ENABLE NCCL_CUMEM_ENABLE
NCCL_IB_DISABLE NCCL_IB_HCA NCCL_IB_GID_INDEX NCCL_IB_SL NCCL_IB_TC NCCL_IB_TIMEOUT
NCCL_IB_RETRY_CNT NCCL_IB_QPS_PER_CONNECTION NCCL_IB_PCI_RELAXED_ORDERING NCCL_TOPO_FILE
PTM_LAUNCH PTM_ENV_FILE
"""
ON_COMMAND_LINES = frozenset(_LISTED.split())
"""Variables whose values are no secrets, so that `ps` may show them."""

_PREFIXES = ("PYTHON", "OMP_", "TORCH_", "NCCL_", "GLOO_", "CUDA_", "HF_", "WANDB_", "PTM_", "DS_")
_PROXIES = {"http_proxy", "https_proxy", "no_proxy", "all_proxy"}
_NEVER_FORWARDED = {
    *("CUDA_VISIBLE_DEVICES", "DS_ENV_FILE", LAUNCH, SENT),
    # These concern interactive use of Python on the launching host only.
    *("PYTHONSTARTUP", "PYTHONINSPECT"),
}
_OF_LAUNCHERS = {"HOME", "USER", "LOGNAME", "SHELL", "TERM", "LANG", "TZ", "TMPDIR", "WCOLL"}
_OF_LAUNCHERS |= {"DSHPATH", "FANOUT", "DISPLAY", "XAUTHORITY", "VIRTUAL_ENV", "OPAL_PREFIX"}
_LAUNCHER_PREFIXES = ("LC_", "SSH_", "KRB5", "PDSH_", "OMPI_", "PMIX_", "PRTE_", "XDG_RUNTIME_")
"""Variables that ssh, pdsh and mpirun read; none of them starts as those that DeepSpeed exports."""
_PLAIN = re.compile(r"[\w%+=:,./-]*", re.ASCII)
"""Values that a shell does not change and that contain no login (user@host). DeepSpeed quotes
others, and mpirun keeps the quotes."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WRITE = 'umask 077; d="$HOME/.cache/ptm"; mkdir -p "$d" && f="$d/{name}" && '
_WRITE += 'find "$d" -name "env-*" -mmin +1440 -delete; cat >"$f.$$" && mv "$f.$$" "$f"'


def may_be_shown(name: str, value: str) -> bool:
    """Whether a variable may be in a command line that passes through a shell."""
    return name in ON_COMMAND_LINES and bool(_PLAIN.fullmatch(value))


@dataclass
class Forwarded:
    """Environment variables for the ranks on other hosts."""

    plain: dict[str, str] = field(default_factory=dict)
    """Variables forwarded by DeepSpeed's launcher."""
    sent: dict[str, str] = field(default_factory=dict)
    """Variables sent in a private file: all others."""

    def add(self, name: str, value: str) -> None:
        """Add a variable to `plain` or `sent`; replaces an earlier value of the same name."""
        self.plain.pop(name, None)
        self.sent.pop(name, None)
        (self.plain if may_be_shown(name, value) else self.sent)[name] = value

    def env_file(self) -> str:
        """`plain` in the format of DeepSpeed's `.deepspeed_env`: no empty lines, no comments."""
        return "".join(f"{name}={value}\n" for name, value in self.plain.items())

    def script(self, launch: str) -> str:
        """An sh script that writes its standard input, `given()`, to the private file of a host."""
        return _WRITE.format(name=sent_name(launch))

    def given(self) -> str:
        """`sent` as JSON, the standard input of `script`."""
        return json.dumps(self.sent)


def sent_name(launch: str) -> str:
    """Name of a launch's file in ~/.cache/ptm."""
    return f"env-{launch}"


def forwarded(environment: Mapping[str, str]) -> Forwarded:
    """Select the variables for other hosts from `environment` and the user's `.deepspeed_env`.

    Every variable of `.deepspeed_env` is included, and its value wins. The file in the current
    folder takes precedence over the one in the home folder. Raises UserError for a malformed line.
    """
    found = Forwarded()
    for name, value in environment.items():
        if _is_forwarded(name, value):
            found.add(name, value)
    for folder in (Path.home(), Path.cwd()):
        path = folder / environment.get("DS_ENV_FILE", ".deepspeed_env")
        if path.is_file():
            for name, value in _read_env_file(path).items():
                found.add(name, value)
    return found


def _is_forwarded(name: str, value: str) -> bool:
    if name == "CUDA_VISIBLE_DEVICES":
        # The hostfile selects the GPUs of each host, but an empty value hides all of them.
        return not value
    listed = name in ON_COMMAND_LINES or name.lower() in _PROXIES or name.startswith(_PREFIXES)
    return listed and name not in _NEVER_FORWARDED


def _read_env_file(path: Path) -> dict[str, str]:
    found = {}
    for number, line in enumerate(read_lines(path, most=MOST_HOSTFILE_BYTES), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        if not equals or not _NAME.fullmatch(name.strip()):
            raise UserError(f"{path}:{number}: the line is not of the form NAME=VALUE.")
        found[name.strip()] = value.strip()
    return found


def for_launcher(environment: Mapping[str, str]) -> dict[str, str]:
    """The part of `environment` that DeepSpeed's launcher gets, which exports some of it to ranks.

    It puts every variable that starts with certain letters (PYTHON, NCCL, ...) on command lines.
    """
    return {
        name: value
        for name, value in environment.items()
        if may_be_shown(name, value) or name in _OF_LAUNCHERS or name.startswith(_LAUNCHER_PREFIXES)
    }


def receive() -> None:
    """Load the variables that `ptm launch` sent to this host, if any, into `os.environ`.

    Each rank calls this before it imports torch.
    """
    name = os.environ.get(SENT)
    if name is None:
        return
    path = Path.home() / ".cache" / "ptm" / Path(name).name
    try:
        os.environ.update(read_json(path))
    except (UserError, ValueError, TypeError) as error:
        logger.warning(
            "%s: cannot read the variables that ptm launch sent to this host (%s)", path, error
        )
