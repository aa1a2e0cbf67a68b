"""`ptm train`: trains in one process, or as one rank under a launcher."""

from __future__ import annotations

import argparse
import logging
import os

from ptm.cli.arguments import add_fresh, add_quiet, add_recipe, add_verify, recipe_of
from ptm.cli.console import print_error
from ptm.errors import EXIT_FAULT

logger = logging.getLogger(__name__)

NAME = "train"
HELP = "train, or resume from the newest complete checkpoint"
ORDER = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(logs_on_stdout=True)
    add_recipe(parser)
    add_fresh(parser)
    add_verify(parser)
    add_quiet(parser)


def run(parsed: argparse.Namespace) -> int:
    from ptm.launch.environment import receive

    receive()
    if "RANK" not in os.environ:
        # A wrong recipe is an error at once. torch and DeepSpeed take seconds to import.
        recipe_of(parsed)
        logger.info("%s: starting", parsed.recipe)
    from ptm.engines.ranks import destroy_process_group
    from ptm.launch.mpi import discover_mpi
    from ptm.launch.slurm import discover_slurm
    from ptm.launch.verdict import is_consequence
    from ptm.rank_environment import check_rank_environment
    from ptm.train.run import train
    from ptm.train.stopping import stop_with_parent
    from ptm.train.trackers.sweeps import with_trial_name

    # Both set the number of ranks, which everything below reads. Slurm comes first because it also
    # sets PMI_SIZE, which would be mistaken for mpirun.
    discover_slurm()
    discover_mpi()
    check_rank_environment()
    if "RANK" in os.environ:
        stop_with_parent()
    try:
        return train(
            lambda: with_trial_name(recipe_of(parsed)), fresh=parsed.fresh, verify=parsed.verify
        )
    except RuntimeError as error:
        if "RANK" not in os.environ or not is_consequence(str(error)):
            raise
        # A lost peer is the cause; this rank's own traceback is noise.
        first_line = str(error).splitlines()[0]
        print_error(f"ptm: rank {os.environ['RANK']} lost another rank: {first_line}")
        return EXIT_FAULT
    finally:
        destroy_process_group()
