"""What of the environment goes to other hosts, and how, so that no secret is seen on the way.

Launchers write what they pass on into command lines, which `ps` shows to everybody on every host,
and DeepSpeed logs them. So only harmless variables are left to them, in a DS_ENV_FILE of our own.
Secrets, and values that a shell would change, go over ssh's input into a file that only their owner
can read (`~/.cache/ptm/`), from which `ptm train` takes them; it is removed when all ranks have
begun.
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

logger = logging.getLogger(__name__)

LAUNCH = "PTM_LAUNCH"
"""Names one launch, in the environment of every process of it."""
SENT = "PTM_ENV_FILE"
"""The name, below ~/.cache/ptm, of what was sent to each host."""

_NAMES = {"PATH", "LD_LIBRARY_PATH", "TOKENIZERS_PARALLELISM"}
_PREFIXES = ("PYTHON", "OMP_", "TORCH_", "NCCL_", "GLOO_", "CUDA_", "HF_", "WANDB_", "PTM_", "DS_")
_PROXIES = {"http_proxy", "https_proxy", "no_proxy", "all_proxy"}
_STAY = {
    *("CUDA_VISIBLE_DEVICES", "DS_ENV_FILE", LAUNCH, SENT),
    # Of the shell's own venv or interpreter, and no other's.
    *("PYTHONSTARTUP", "PYTHONINSPECT"),
}
_SECRET = re.compile(r"KEY|TOKEN(?!IZERS_PARALLELISM)|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.I)
_LOGIN_IN_URL = re.compile(r"://[^/@\s]*:[^/@\s]*@")
_PLAIN = re.compile(r"[\w@%+=:,./-]*", re.ASCII)
"""What a shell leaves as it is; DeepSpeed quotes the rest, and mpirun takes the quotes along."""
_WRITE = 'umask 077; d="$HOME/.cache/ptm"; mkdir -p "$d" && f="$d/{name}" && '
_WRITE += 'find "$d" -name "env-*" -mmin +1440 -delete; cat >"$f.$$" && mv "$f.$$" "$f"'


def is_secret(name: str, value: str) -> bool:
    """Whether a variable is nobody else's business, by its name or by a password in an address."""
    return bool(_SECRET.search(name) or _LOGIN_IN_URL.search(value))


@dataclass
class Forwarded:
    """What goes to the ranks on other hosts."""

    plain: dict[str, str] = field(default_factory=dict)
    """Through DeepSpeed's launcher."""
    sent: dict[str, str] = field(default_factory=dict)
    """In a file of its own."""

    def add(self, name: str, value: str) -> None:
        """The last value of a name counts."""
        self.plain.pop(name, None)
        self.sent.pop(name, None)
        hidden = is_secret(name, value) or not _PLAIN.fullmatch(value)
        (self.sent if hidden else self.plain)[name] = value

    def env_file(self) -> str:
        """As DeepSpeed reads its `.deepspeed_env`: no empty line, no comment."""
        return "".join(f"{name}={value}\n" for name, value in self.plain.items())

    def script(self, launch: str) -> str:
        """What writes `sent`, given as its input, on a host."""
        return _WRITE.format(name=sent_name(launch))

    def given(self) -> str:
        """The input of `script`."""
        return json.dumps(self.sent)


def sent_name(launch: str) -> str:
    """The file of a launch below ~/.cache/ptm."""
    return f"env-{launch}"


def forwarded(environment: Mapping[str, str]) -> Forwarded:
    """What of this shell's environment, and of the user's `.deepspeed_env`, goes to other hosts."""
    found = Forwarded()
    for name, value in environment.items():
        if _travels(name, value):
            found.add(name, value)
    for folder in (Path.home(), Path.cwd()):
        path = folder / environment.get("DS_ENV_FILE", ".deepspeed_env")
        if path.is_file():
            for name, value in _read_env_file(path).items():
                found.add(name, value)
    return found


def _travels(name: str, value: str) -> bool:
    if name == "CUDA_VISIBLE_DEVICES":
        # Which GPUs of a host are used, its hostfile says; that they are hidden, this does.
        return not value
    known = name in _NAMES or name.lower() in _PROXIES or name.startswith(_PREFIXES)
    return known and name not in _STAY


def _read_env_file(path: Path) -> dict[str, str]:
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        if not equals or not name.strip().isidentifier():
            raise UserError(f"{path}, line {number}: is not of the form NAME=VALUE.")
        found[name.strip()] = value.strip()
    return found


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """For DeepSpeed's launcher, which writes some of its environment into command lines."""
    return {name: value for name, value in environment.items() if not is_secret(name, value)}


def receive() -> None:
    """On a rank, before torch is loaded: take over what was sent to this host, if anything."""
    name = os.environ.get(SENT)
    if name is None:
        return
    path = Path.home() / ".cache" / "ptm" / name
    try:
        os.environ.update(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        logger.warning("%s: what ptm launch has sent here is missing (%s)", path, error)
