"""The command line: the only place that prints, and the one that turns errors into exit codes."""

from __future__ import annotations

import argparse
import errno
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptm.errors import EXIT_DONE, EXIT_FAULT, EXIT_INTERRUPTED, EXIT_USER, TrainingError, UserError
from ptm.version import __version__

if TYPE_CHECKING:
    from ptm.data.preprocess import Progress
    from ptm.recipe import Recipe

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    # Read when torch is loaded, which is later. Threads that spin while they wait for each other
    # bring a training to a quarter of its speed as soon as another program uses a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    _share_out_cores()
    parsed = _parsed(_parser(), arguments)
    _log_to_console()
    command: Command = parsed.command
    try:
        return command(parsed)
    except UserError as error:
        # All ranks of a launch raise the same; one says it.
        if os.environ.get("RANK", "0") == "0":
            print(f"ptm: {error}", file=sys.stderr)
        return EXIT_USER
    except TrainingError as error:
        if os.environ.get("RANK", "0") == "0":
            print(f"ptm: {error}", file=sys.stderr)
        return EXIT_FAULT
    except KeyboardInterrupt:
        print("ptm: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return EXIT_DONE
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"ptm: {where}cannot be written: {error.strerror}.", file=sys.stderr)
        return EXIT_USER


def _share_out_cores() -> None:
    """Under a launcher, leave each rank of this host its part of the cores, unless told otherwise.

    Ranks that each take all of them are many times slower.
    """
    sizes = (os.environ.get(name) for name in ("LOCAL_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE"))
    local_ranks = next((int(size) for size in sizes if size), 1)
    if local_ranks > 1:
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // local_ranks)))


def _parsed(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse, also where KEY=VALUE stands after an option, which argparse alone refuses."""
    parsed, rest = parser.parse_known_args(arguments)
    late = [word for word in rest if "=" in word and not word.startswith("-")]
    if len(late) < len(rest) or (late and not hasattr(parsed, "overrides")):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if late:
        parsed.overrides = [*parsed.overrides, *late]
    return parsed


def _step(text: str) -> int | str:
    return text if text == "best" else int(text)


def _log_to_console() -> None:
    """Progress to stdout; warnings and errors say that they are."""
    logger = logging.getLogger("ptm")
    logger.setLevel(logging.INFO)
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(_ConsoleFormatter())
        logger.addHandler(handler)
    logger.propagate = False


class _ConsoleFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return text if record.levelno < logging.WARNING else f"{record.levelname.lower()}: {text}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ptm", description="Pretrain language models with DeepSpeed from one YAML recipe."
    )
    parser.add_argument("--version", action="version", version=f"ptm {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name: str, command: Command, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=command)
        return sub

    def add_recipe(name: str, command: Command, text: str) -> argparse.ArgumentParser:
        sub = add(name, command, text)
        sub.add_argument("recipe", metavar="RECIPE", help="a YAML file")
        _add_overrides(sub)
        return sub

    sub = add_recipe("validate", _validate, "check everything that can be known before launch")
    sub.add_argument("--inputs", action="store_true", help="missing inputs are errors")
    sub = add_recipe("show", _show, "steps, parameters, batch arithmetic, DeepSpeed's config")
    sub.add_argument("--batch", action="store_true", help="decode the first rows of the training")
    sub = add_recipe("preprocess", _preprocess, "turn the corpus into a token store")
    sub.add_argument("--fresh", action="store_true", help="replace an existing store")
    sub = add_recipe("train", _train, "train, or go on from the newest whole checkpoint")
    sub.add_argument("--fresh", action="store_true", help="set an old run aside and start anew")

    sub = add_recipe("launch", _launch, "train on all GPUs of this machine, or of several hosts")
    sub.add_argument("--fresh", action="store_true", help="set an old run aside and start anew")
    _add_launch_options(sub)

    sub = add("evaluate", _evaluate, "held-out metrics of a run, an export or an import")
    _add_source(sub)
    _add_overrides(sub)
    sub.add_argument("--json", action="store_true", help="as one JSON object")
    sub = add("export", _export, "write weights that others can load")
    sub.add_argument("run", metavar="RUN", help="a run, an import or an export")
    sub.add_argument("out", metavar="OUT", type=Path, help="the folder to write")
    sub.add_argument("--to", choices=("hf",), required=True, help="whose format")
    sub.add_argument(
        "--step", type=_step, help="of a run: a checkpoint's step, or best (newest if left out)"
    )
    sub.add_argument("--format", choices=("safetensors", "bin"), default="safetensors")
    sub = add("import", _import, "turn others' weights into something init_from can load")
    sub.add_argument("source", metavar="SOURCE", help="a folder of theirs")
    sub.add_argument("out", metavar="OUT", type=Path, help="the folder to write")
    sub.add_argument("--from", dest="origin", choices=("hf",), required=True, help="whose format")
    sub = add("fill", _fill, "the most likely tokens at each [MASK] of a text")
    _add_source(sub)
    sub.add_argument("text", metavar="TEXT", nargs="+", help="texts with [MASK] in them")
    sub.add_argument("--count", type=int, default=5, help="tokens a mask (default 5)")
    sub.add_argument("--json", action="store_true", help="as one JSON object a text")
    sub = add("runs", _runs, "what ran")
    sub.add_argument("dir", metavar="DIR", nargs="?", default="runs", type=Path)
    sub = add("report", _report, "write a page with a run's curves")
    sub.add_argument("run", metavar="RUN", type=Path)
    return parser


def _add_overrides(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "overrides", metavar="KEY=VALUE", nargs="*", help="e.g. train.steps=200, read as YAML"
    )


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


def _add_source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SOURCE", help="a run, an export or an import")


def _recipe(parsed: argparse.Namespace) -> Recipe:
    from ptm.recipe import load_recipe

    return load_recipe(parsed.recipe, parsed.overrides)


def _validate(parsed: argparse.Namespace) -> int:
    from ptm.recipe import recipe_yaml
    from ptm.train.inputs import check_recipe

    recipe = _recipe(parsed)
    missing = check_recipe(recipe, need_inputs=parsed.inputs)
    print(recipe_yaml(recipe), end="")
    for sentence in missing:
        print(f"# not here yet: {sentence}")
    print(f"# {parsed.recipe}: valid")
    return EXIT_DONE


def _show(parsed: argparse.Namespace) -> int:
    from ptm.train.show import show

    for line in show(_recipe(parsed), batch=parsed.batch):
        print(line)
    return EXIT_DONE


def _preprocess(parsed: argparse.Namespace) -> int:
    from ptm.data.preprocess import Preprocessing, preprocess
    from ptm.text.corpus import find_corpus

    recipe = _recipe(parsed)
    work = Preprocessing(
        corpus=find_corpus(recipe.data.corpus_patterns),
        layout=recipe.data.layout,
        tokenizer=recipe.tokenizer,
        segmenter=recipe.data.segmenter,
    )
    line = _ProgressLine()
    info = preprocess(
        work,
        Path(recipe.data.store),
        workers=recipe.data.workers or len(os.sched_getaffinity(0)),
        fresh=parsed.fresh,
        report=line.show,
    )
    line.end()
    counts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in info.report.items())
    print(
        f"{recipe.data.store}: {info.documents:,} documents, {info.tokens:,} tokens in "
        f"{len(info.shards)} shards ({counts})"
    )
    return EXIT_DONE


class _ProgressLine:
    """One line that is written over on a terminal, and now and then a new one elsewhere."""

    _SECONDS_ELSEWHERE = 10.0

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._next = 0.0 if self._terminal else self._SECONDS_ELSEWHERE
        self._open = False

    def show(self, progress: Progress) -> None:
        from ptm.train.metrics import clock

        if progress.seconds < self._next:
            return
        self._next = progress.seconds + (0.2 if self._terminal else self._SECONDS_ELSEWHERE)
        rate = progress.bytes_read / max(progress.seconds, 1e-9)
        left = (progress.bytes_total - progress.bytes_read) / max(rate, 1e-9)
        text = (
            f"{progress.bytes_read / 1e6:.1f} of {progress.bytes_total / 1e6:.1f} MB · "
            f"{progress.documents:,} documents · {progress.tokens:,} tokens · "
            f"{rate / 1e6:.2f} MB/s · ETA {clock(left)}"
        )
        if self._terminal:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
            self._open = True
        else:
            print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._open:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _train(parsed: argparse.Namespace) -> int:
    from ptm.launch.environment import receive

    receive()
    from ptm.train.distributed import leave_ranks
    from ptm.train.mpi import discover_mpi
    from ptm.train.run import train
    from ptm.train.slurm import discover_slurm
    from ptm.train.stopping import stop_with_parent

    # Before anything reads how many ranks there are. Slurm's first, which sets what else would be
    # taken for an mpirun (PMI_SIZE).
    discover_slurm()
    discover_mpi()
    if "RANK" in os.environ:
        stop_with_parent()
    try:
        return train(lambda: _recipe(parsed), fresh=parsed.fresh)
    finally:
        leave_ranks()


def _launch(parsed: argparse.Namespace) -> int:
    from ptm.launch.command import Options
    from ptm.launch.launching import launch

    names = {field.name for field in fields(Options)}
    options = {name: value for name, value in vars(parsed).items() if name in names}

    def tell(line: str) -> None:
        print(f"ptm: {line}", file=sys.stderr, flush=True)

    return launch(Options(**options), tell)


def _evaluate(parsed: argparse.Namespace) -> int:
    from ptm.interop.source import open_source
    from ptm.train.evaluating import evaluate_source

    result = evaluate_source(open_source(parsed.source), parsed.overrides)
    if parsed.json:
        print(json.dumps(result, ensure_ascii=False))
        return EXIT_DONE
    for key, value in result.items():
        print(f"{key:>14}  {value:.5f}" if isinstance(value, float) else f"{key:>14}  {value}")
    return EXIT_DONE


def _export(parsed: argparse.Namespace) -> int:
    from ptm.interop.hf.export import export_to_huggingface
    from ptm.interop.source import open_source

    source = open_source(parsed.run, step=parsed.step)
    export_to_huggingface(source, parsed.out, weights_format=parsed.format)
    print(f"{parsed.out}: {source.description()} of {parsed.run}, for transformers")
    return EXIT_DONE


def _import(parsed: argparse.Namespace) -> int:
    from ptm.interop.importing import import_from_huggingface

    parameters = import_from_huggingface(parsed.source, parsed.out)
    print(f"{parsed.out}: {parameters:,} parameters from {parsed.source}")
    return EXIT_DONE


def _fill(parsed: argparse.Namespace) -> int:
    from ptm.interop.fill import Filler
    from ptm.interop.source import open_source

    if parsed.count < 1:
        raise UserError(f"--count = {parsed.count}: must be at least 1.")
    filler = Filler(open_source(parsed.source))
    for text in parsed.text:
        masks = filler.fill(text, count=parsed.count)
        if parsed.json:
            guesses = [[{"token": g.token, "probability": g.probability} for g in m] for m in masks]
            print(json.dumps({"text": text, "masks": guesses}, ensure_ascii=False))
            continue
        print(text)
        for guesses_of_mask in masks:
            print("  " + "  ".join(f"{g.token} {g.probability:.3f}" for g in guesses_of_mask))
    return EXIT_DONE


def _runs(parsed: argparse.Namespace) -> int:
    from ptm.train.history import runs

    for line in runs(parsed.dir):
        print(line)
    return EXIT_DONE


def _report(parsed: argparse.Namespace) -> int:
    from ptm.train.report import write_report

    print(write_report(parsed.run))
    return EXIT_DONE
