"""`ptm suite`: fine-tunes one model on several tasks, each with several seeds."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

from ptm.cli.console import print_error, print_note, print_result
from ptm.errors import EXIT_DONE, EXIT_FAULT, STOPPED_CODES, UserError

NAME = "suite"
HELP = "fine-tune one model on several tasks with several seeds, to one table"
ORDER = 55


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "recipes",
        metavar="RECIPE",
        nargs="+",
        help="recipes, folders of recipes, globs; KEY=VALUE overrides all of them",
    )
    parser.set_defaults(overrides=[])
    parser.add_argument(
        "--init-from",
        required=True,
        metavar="MODEL",
        help="the model that every recipe starts from, with its tokenizer and architecture: a "
        "run, an export, an import, a transformers folder or a Hub id",
    )
    parser.add_argument(
        "--seeds", type=int, default=3, metavar="N", help="runs per recipe (default 3)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="folder of the runs, stores and tables (default: suites/NAME of the model)",
    )
    parser.add_argument(
        "--keep-going",
        action="store_true",
        help="leave out recipes that are wrong or fail, and run the others",
    )
    parser.add_argument(
        "--remove-checkpoints",
        action="store_true",
        help="remove the checkpoints of each run once it has been evaluated",
    )
    parser.add_argument(
        "--hostfile", metavar="FILE", help="train on these hosts: as ptm launch --hostfile"
    )
    parser.add_argument(
        "--num-gpus", type=int, metavar="N", help="ranks per host: as ptm launch --num-gpus"
    )


def run(parsed: argparse.Namespace) -> int:
    from ptm.launch.mpi import discover_mpi
    from ptm.launch.slurm import discover_slurm

    discover_slurm()
    discover_mpi()
    if "RANK" in os.environ:
        raise UserError(
            "ptm suite starts the ranks of each training itself. Run it once, without a launcher; "
            "--hostfile or --num-gpus says where the ranks run."
        )
    if parsed.seeds < 1:
        raise UserError(f"--seeds {parsed.seeds}: must be at least 1.")
    overrides = [word for word in parsed.recipes if "=" in word] + parsed.overrides
    patterns = [word for word in parsed.recipes if "=" not in word]
    if not patterns:
        raise UserError("no recipe is given. Give at least one RECIPE.")
    _check_overrides(overrides)
    from ptm.runs.suite.run import Running, Suite
    from ptm.runs.suite.scores import as_lines, table
    from ptm.runs.suite.tasks import Plan, recipe_files, tasks_of

    folder = parsed.out or Path("suites") / (Path(parsed.init_from).name or "model")
    plan = Plan(parsed.init_from, tuple(overrides), parsed.seeds, folder)
    files = recipe_files(patterns)
    tasks, errors = tasks_of(files, plan, keep_going=parsed.keep_going)
    for error in errors.values():
        print_error(*(f"ptm: left out: {line}" for line in error.args))
    how = Running(
        launch=_launch_options(parsed),
        keep_going=parsed.keep_going,
        keep_checkpoints=not parsed.remove_checkpoints,
    )
    suite = Suite(tasks, plan, how, echo=lambda line: print_note(f"ptm: {line}"))
    suite.results()
    code = suite.run()
    for line in as_lines(table(suite.results())):
        print_result(line)
    for name, failure in suite.failed.items():
        print_error(f"ptm: {name}: failed with exit code {failure}; the message is above")
    if code in STOPPED_CODES:
        print_note("ptm: stopped; the same command continues")
    print_note(f"ptm: tables: {folder}/results.json, results.tsv, results.md")
    return EXIT_FAULT if code == EXIT_DONE and errors else code


def _check_overrides(overrides: list[str]) -> None:
    """Raise UserError for keys that the suite sets."""
    own = {"name", "seed", "runs_dir", "init_from"}
    for word in overrides:
        key = re.split(r"[.=]", word, maxsplit=1)[0]
        if key in own:
            raise UserError(
                f'"{word}": ptm suite sets {key} itself. Remove the override; see --init-from, '
                "--seeds and --out."
            )


def _launch_options(parsed: argparse.Namespace) -> tuple[str, ...] | None:
    given = {"--hostfile": parsed.hostfile, "--num-gpus": parsed.num_gpus}
    options = tuple(f"{name}={value}" for name, value in given.items() if value is not None)
    return options or None
