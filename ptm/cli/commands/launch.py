"""`ptm launch`: starts ranks on one or more hosts and reports how they ended."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import Any

from ptm.cli.arguments import add_fresh, add_quiet, add_recipe, add_verify
from ptm.cli.console import print_note

NAME = "launch"
HELP = "train on all GPUs of this machine or of several hosts"
ORDER = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(logs_on_stdout=True)
    add_recipe(parser)
    add_fresh(parser)
    add_verify(parser)
    add_quiet(parser)
    _add_launch_options(parser)


def run(parsed: argparse.Namespace) -> int:
    from ptm.launch.command import Options
    from ptm.launch.launching import launch

    names = {field.name for field in fields(Options)}
    options = {name: value for name, value in vars(parsed).items() if name in names}

    def echo(line: str) -> None:
        print_note(f"ptm: {line}")

    return launch(Options(**options), echo)


def _add_launch_options(parser: argparse.ArgumentParser) -> None:
    """The options of DeepSpeed's launcher, with hyphens or underscores."""

    def add(name: str, **how: Any) -> None:
        spellings = dict.fromkeys((f"--{name}", f"--{name.replace('-', '_')}"))
        parser.add_argument(*spellings, **how)

    add("hostfile", metavar="FILE", help="file with the hosts and the slots (ranks) of each")
    add("num-gpus", metavar="N", type=int, help="ranks per host; without GPUs, ranks run on CPUs")
    add(
        "include",
        metavar="HOST:SLOTS",
        default="",
        help="use only these slots, e.g. node-1@node-2:0,2",
    )
    add(
        "exclude",
        metavar="HOST:SLOTS",
        default="",
        help="use all slots except these, e.g. node-1@node-2:0,2",
    )
    add(
        "launcher",
        choices=("pdsh", "openmpi"),
        default="pdsh",
        help="program that starts the ranks on other hosts (default pdsh)",
    )
    add(
        "launcher-args",
        metavar="TEXT",
        default="",
        help="arguments for pdsh or mpirun, written as --launcher-args=TEXT",
    )
    add("master-addr", metavar="ADDRESS", help="address of rank 0 as seen by the other hosts")
    add("master-port", metavar="PORT", type=int, help="port of rank 0 (default: a free port)")
