"""`ptm launch`: ranks on one host or several, and the truth about how they ended."""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields
from typing import Any

from ptm.cli.arguments import add_fresh, add_recipe

NAME = "launch"
HELP = "train on all GPUs of this machine, or of several hosts"
ORDER = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own."""
    add_recipe(parser)
    add_fresh(parser)
    _add_launch_options(parser)


def run(parsed: argparse.Namespace) -> int:
    """Run it; return the exit code."""
    from ptm.launch.command import Options
    from ptm.launch.launching import launch

    names = {field.name for field in fields(Options)}
    options = {name: value for name, value in vars(parsed).items() if name in names}

    def tell(line: str) -> None:
        print(f"ptm: {line}", file=sys.stderr, flush=True)

    return launch(Options(**options), tell)


def _add_launch_options(parser: argparse.ArgumentParser) -> None:
    """DeepSpeed's own, and spelt as it spells them as well."""

    def add(name: str, **how: Any) -> None:
        spellings = dict.fromkeys((f"--{name}", f"--{name.replace('-', '_')}"))
        parser.add_argument(*spellings, **how)

    add("hostfile", metavar="FILE", help="names the hosts, and slots (ranks) of each")
    add("num-gpus", metavar="N", type=int, help="ranks on each host (CPU ranks without GPUs)")
    add("include", metavar="HOST:SLOTS", default="", help="only these: node-1@node-2:0,2")
    add("exclude", metavar="HOST:SLOTS", default="", help="all but these")
    add("launcher", choices=("pdsh", "openmpi"), default="pdsh", help="how hosts are reached")
    add("launcher-args", metavar="TEXT", default="", help="for pdsh or mpirun: --launcher-args=...")
    add("master-addr", metavar="ADDRESS", help="rank 0's, as the other hosts see it")
    add("master-port", metavar="PORT", type=int, help="a free one if left out")
