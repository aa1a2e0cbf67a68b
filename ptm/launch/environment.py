"""Environment variables for ranks on other hosts, forwarded without exposing secrets.

Launchers put the variables they forward into command lines, which `ps` shows to all users of a host
and which DeepSpeed logs. So they forward only harmless variables, which `ptm launch` writes into a
DS_ENV_FILE. Secrets, and values that a shell would change, are piped over ssh into a file in
`~/.cache/ptm/` that only its owner can read. `ptm train` reads that file, and `ptm launch` removes
it when all ranks have started.
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
"""Environment variable with the id of the launch; all its processes inherit it."""
SENT = "PTM_ENV_FILE"
"""Environment variable with the name of the file in ~/.cache/ptm that was sent to each host."""

_NAMES = {"PATH", "LD_LIBRARY_PATH", "TOKENIZERS_PARALLELISM"}
_PREFIXES = ("PYTHON", "OMP_", "TORCH_", "NCCL_", "GLOO_", "CUDA_", "HF_", "WANDB_", "PTM_", "DS_")
_PROXIES = {"http_proxy", "https_proxy", "no_proxy", "all_proxy"}
_NEVER_FORWARDED = {
    *("CUDA_VISIBLE_DEVICES", "DS_ENV_FILE", LAUNCH, SENT),
    # These concern interactive use of Python on the launching host only.
    *("PYTHONSTARTUP", "PYTHONINSPECT"),
}
_SECRET = re.compile(r"KEY|TOKEN(?!IZERS_PARALLELISM)|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.I)
_LOGIN_IN_URL = re.compile(r"://[^/@\s]*:[^/@\s]*@")
_PLAIN = re.compile(r"[\w@%+=:,./-]*", re.ASCII)
"""Values that a shell does not change. DeepSpeed quotes others, and mpirun keeps the quotes."""
_WRITE = 'umask 077; d="$HOME/.cache/ptm"; mkdir -p "$d" && f="$d/{name}" && '
_WRITE += 'find "$d" -name "env-*" -mmin +1440 -delete; cat >"$f.$$" && mv "$f.$$" "$f"'


def is_secret(name: str, value: str) -> bool:
    """Whether a variable is secret, judged by its name or by a login in a URL."""
    return bool(_SECRET.search(name) or _LOGIN_IN_URL.search(value))


@dataclass
class Forwarded:
    """Environment variables for the ranks on other hosts."""

    plain: dict[str, str] = field(default_factory=dict)
    """Variables forwarded by DeepSpeed's launcher."""
    sent: dict[str, str] = field(default_factory=dict)
    """Variables sent in a private file: secrets, and values that a shell would change."""

    def add(self, name: str, value: str) -> None:
        """Add a variable to `plain` or `sent`; replaces an earlier value of the same name."""
        self.plain.pop(name, None)
        self.sent.pop(name, None)
        hidden = is_secret(name, value) or not _PLAIN.fullmatch(value)
        (self.sent if hidden else self.plain)[name] = value

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
    known = name in _NAMES or name.lower() in _PROXIES or name.startswith(_PREFIXES)
    return known and name not in _NEVER_FORWARDED


def _read_env_file(path: Path) -> dict[str, str]:
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        if not equals or not name.strip().isidentifier():
            raise UserError(f"{path}:{number}: the line is not of the form NAME=VALUE.")
        found[name.strip()] = value.strip()
    return found


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` without secrets, for DeepSpeed's launcher, which puts it on command lines."""
    return {name: value for name, value in environment.items() if not is_secret(name, value)}


def receive() -> None:
    """Load the variables that `ptm launch` sent to this host, if any, into `os.environ`.

    Each rank calls this before it imports torch.
    """
    name = os.environ.get(SENT)
    if name is None:
        return
    path = Path.home() / ".cache" / "ptm" / name
    try:
        os.environ.update(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        logger.warning(
            "%s: cannot read the variables that ptm launch sent to this host (%s)", path, error
        )
