"""The command line: one file a command, and `entry`, which turns errors into exit codes."""

from ptm.cli.entry import main

__all__ = ["main"]
