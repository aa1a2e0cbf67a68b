"""`ptm train`: one process, or one rank under a launcher."""

from __future__ import annotations

import argparse
import os
import sys

from ptm.cli.arguments import add_fresh, add_recipe, recipe_of
from ptm.errors import EXIT_FAULT

NAME = "train"
HELP = "train, or go on from the newest whole checkpoint"
ORDER = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own."""
    add_recipe(parser)
    add_fresh(parser)


def run(parsed: argparse.Namespace) -> int:
    """Run it; return the exit code."""
    from ptm.launch.environment import receive

    receive()
    from ptm.engines.ranks import leave_ranks
    from ptm.launch.mpi import discover_mpi
    from ptm.launch.slurm import discover_slurm
    from ptm.launch.verdict import is_consequence
    from ptm.train.run import train
    from ptm.train.stopping import stop_with_parent

    # Before anything reads how many ranks there are. Slurm's first, which sets what else would be
    # taken for an mpirun (PMI_SIZE).
    discover_slurm()
    discover_mpi()
    if "RANK" in os.environ:
        stop_with_parent()
    try:
        return train(lambda: recipe_of(parsed), fresh=parsed.fresh)
    except RuntimeError as error:
        if "RANK" not in os.environ or not is_consequence(str(error)):
            raise
        # The rank that is gone is the story; the stack of one that waited for it is none.
        said = str(error).splitlines()[0]
        print(f"ptm: rank {os.environ['RANK']} has lost another: {said}", file=sys.stderr)
        return EXIT_FAULT
    finally:
        leave_ranks()
