"""`ssh` and `pdsh` that treat words as the real ones do, and run everything on this machine.

What matters is how they treat words: ssh joins them with spaces and hands the text to the shell
of the user on the other host, in the home folder and without the environment of the caller; pdsh
replaces %h, %n and %u and calls ssh. So nothing that reaches a shell unquoted goes unnoticed, on a
machine without sshd.
"""

from __future__ import annotations

import sys
from pathlib import Path

_SSH = """\
#!{python} -S
import os, sys
words = sys.argv[1:]
while words and words[0].startswith("-"):
    option = words.pop(0)
    if option == "--":
        break
    if option in ("-o", "-l", "-p", "-i"):
        words.pop(0)
host = words.pop(0)
assert host.replace("-", "").isalnum(), host
os.chdir({home!r})
environment = {{"HOME": {home!r}, "PATH": {path!r}, "SSH_CONNECTION": host, "USER": "root"}}
os.execve("/bin/sh", ["sh", "-c", " ".join(words)], environment)
"""
_PDSH = """\
#!{python} -S
import subprocess, sys
words = sys.argv[1:]
hosts = []
while words and words[0].startswith("-"):
    option = words.pop(0)
    if option == "-w":
        hosts = words.pop(0).split(",")
    elif option in ("-f", "-l", "-R", "-u", "-t"):
        words.pop(0)
command = " ".join(words)
started = []
for number, host in enumerate(hosts):
    text = command.replace("%h", host).replace("%n", str(number)).replace("%u", "root")
    started.append(subprocess.Popen([{ssh!r}, "-2", "-a", "-x", "-lroot", host, text]))
codes = [process.wait() for process in started]
sys.exit(max(codes))
"""


def make_fake_hosts(folder: Path, *, path: str) -> str:
    """Write the two programs into `folder`/bin; returns a PATH that finds them first.

    `path` is the PATH of a shell on the other hosts.
    """
    home, programs = folder / "home", folder / "bin"
    home.mkdir()
    programs.mkdir()
    python = sys.executable
    ssh = _SSH.format(python=python, home=str(home), path=path)
    pdsh = _PDSH.format(python=python, ssh=str(programs / "ssh"))
    for name, text in (("ssh", ssh), ("pdsh", pdsh)):
        (programs / name).write_text(text, encoding="utf-8")
        (programs / name).chmod(0o755)
    return f"{programs}:{path}"
