"""Damage drawn at random, in every kind of file that ptm reads back, and how a command reacts.

    python -m tests.support.corruptions [--count 500] [--seed 0]

Each case damages one file of a small project and runs one command on it, in a process of its own.
The command must not print a traceback, take more than 10 s or 1 GB, or end with exit code 0 and
another result than on the whole project without naming the damage.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

from ptm.checkpoint.verification import digest_of
from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_FAULT, EXIT_USER
from tests.support.small_runs import PROJECT, QUICKSTART, build_bundled_store, small_overrides
from tests.support.written_runs import write_run

SECONDS = 20.0
"""Limit of the time on the processor; a training takes 5 s, and twice that on shared cores."""
WAIT_SECONDS = 60.0
"""Limit of the time on the clock, for a machine that is busy with other tests."""
MEMORY_KB = 10**6
_HUGE = 3 * 10**9
_NAMING = ("damaged", "differs from", "bytes instead of", "cannot be read", "are left out")
"""Words of warnings that name a damage."""


@dataclass(frozen=True)
class Target:
    """A kind of file, and the commands that read it."""

    pattern: str
    commands: tuple[str, ...]
    is_protected: bool = False
    """Whether a checksum covers the file, so that no change of a value may pass unnoticed."""
    is_derived: bool = False
    """Whether ptm writes the file again, or does without it, if it is damaged."""


TARGETS = (
    Target(
        "store/store.json", ("verify-store", "evaluate", "train", "preprocess"), is_protected=True
    ),
    Target("store/shard-*.bin", ("verify-store", "evaluate", "train"), is_protected=True),
    Target("store/.ptm-folder", ("verify-store", "evaluate", "preprocess-fresh")),
    Target("store/index/*/*.npy", ("evaluate", "train"), is_derived=True, is_protected=True),
    Target("store/index/*/index.json", ("evaluate", "train"), is_derived=True, is_protected=True),
    Target("other.partial/work.json", ("preprocess-other",), is_derived=True),
    Target("other.partial/shard-*.json", ("preprocess-other",), is_derived=True, is_protected=True),
    Target("other.partial/shard-*.bin", ("preprocess-other",), is_derived=True, is_protected=True),
    Target("runs/run/recipe.yaml", ("runs", "report", "evaluate", "verify", "train")),
    Target("runs/run/environment.json", ("report",)),
    Target("runs/run/metrics.jsonl", ("runs", "report", "train", "export")),
    Target("runs/run/events.jsonl", ("train",)),
    Target(
        "runs/run/checkpoints/*/manifest.json", ("verify", "evaluate", "train"), is_protected=True
    ),
    Target("runs/run/checkpoints/*/run.json", ("verify", "evaluate", "train"), is_protected=True),
    Target(
        "runs/run/checkpoints/*/rank00000.bin", ("verify", "evaluate", "train"), is_protected=True
    ),
    Target("runs/run/checkpoints/best", ("evaluate-best",)),
    Target("runs/run/checkpoints/latest", ("evaluate",), is_derived=True),
    Target("runs/run/ranks/rank00000.json", ("train",), is_derived=True),
    Target("runs/run/.ptm-folder", ("train",)),
    Target("runs/run/tokenizer/vocab.txt", ("evaluate", "verify"), is_protected=True),
    Target("export/config.json", ("fill",)),
    Target("export/recipe.yaml", ("fill",)),
    Target("export/tokenizer.json", ("fill",)),
    Target("export/model.safetensors", ("fill",)),
)


def command(name: str) -> list[str]:
    """The command line of a command of TARGETS, relative to the project."""
    recipe = str(QUICKSTART / "roberta-tiny.yaml")
    here, other = (
        [recipe, *small_overrides(Path(store), Path("runs"), "run")] for store in ("store", "other")
    )
    return {
        "verify-store": ["verify", "store"],
        "evaluate": ["evaluate", "runs/run"],
        "evaluate-best": ["evaluate", "runs/run", "--step", "best"],
        "train": ["train", *here],
        "preprocess": ["preprocess", *here],
        "preprocess-fresh": ["preprocess", *here, "--fresh"],
        "preprocess-other": ["preprocess", *other, "data.workers=1"],
        "runs": ["runs", "runs"],
        "report": ["report", "runs/run"],
        "verify": ["verify", "runs/run"],
        "export": ["export", "runs/run", "out", "--to", "hf"],
        "fill": ["fill", "export", "the [MASK] is"],
    }[name]


def build_project(folder: Path) -> None:
    """Write the project: a store and its index, an unfinished store, a run and its export."""
    build_bundled_store(folder / "store")
    with contextlib.chdir(folder):
        run = write_run(Path("store"), Path("runs"), "run")
        (run / "checkpoints" / "best").write_text("global_step8")
        (run / "ranks").mkdir(exist_ok=True)
        status = {"rank": 0, "host": "h", "pid": 1, "launch": None, "time": 1.0}
        text = json.dumps({**status, "phase": "ended", "step": 12, "code": 0, "error": None})
        (run / "ranks" / "rank00000.json").write_text(text)
    for name in ("evaluate", "train", "export"):
        ended = run_apart(command(name), folder)
        assert ended.code == 0, ended.output
    (folder / "out").rename(folder / "export")
    # A stopped preprocessing: all shards are finished, the manifest is not written.
    with mock.patch("ptm.store.preprocess.write_manifest", side_effect=KeyboardInterrupt):
        run_apart(command("preprocess-other"), folder)
    assert list((folder / "other.partial").glob("shard-*.json")), "no shard was finished"


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int | None
    """Exit code; None if it took too long."""
    output: str
    """stdout and stderr."""
    memory_kb: int
    """Peak memory beyond that of the process that started it."""


def run_apart(arguments: Sequence[str], folder: Path) -> Ended:
    """Run `ptm` in a fork of this process, which has loaded torch, or a training in a new one."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            _run_and_exit(arguments, folder, output.fileno())
        code, usage = _wait(child)
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
    if usage.ru_utime + usage.ru_stime > SECONDS:
        code = None
    return Ended(code, text, max(0, usage.ru_maxrss - before))


def _run_and_exit(arguments: Sequence[str], folder: Path, output: int) -> None:
    code = 70
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8")
        sys.stderr = os.fdopen(2, "w", encoding="utf-8")
        logging.getLogger("ptm").handlers.clear()
        os.chdir(folder)
        if arguments[0] == "train":
            # A fork cannot use the process group that an earlier test may have made.
            os.environ["PYTHONPATH"] = str(PROJECT)
            os.execv(sys.executable, [sys.executable, "-m", "ptm", *arguments])
        code = main(arguments)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 70
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _wait(child: int) -> tuple[int | None, resource.struct_rusage]:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), usage
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    _, _, usage = os.wait4(child, 0)
    return None, usage


Damage = Callable[[Path, random.Random], bool]
"""Damages a file; returns whether only a value of a well-formed file may have changed."""


def _flip(path: Path, dice: random.Random) -> bool:
    data = bytearray(path.read_bytes())
    if data:
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        path.write_bytes(data)
    return True


def _truncate(path: Path, dice: random.Random) -> bool:
    data = path.read_bytes()
    path.write_bytes(data[: dice.randrange(max(1, len(data)))])
    # A text that is cut at the end of a line is well-formed.
    return True


def _empty(path: Path, dice: random.Random) -> bool:
    path.write_bytes(b"")
    # No lines are a well-formed list of lines.
    return path.suffix == ".jsonl"


def _binary(path: Path, dice: random.Random) -> bool:
    path.write_bytes(dice.randbytes(dice.randrange(1, 4096)))
    return False


def _nested(path: Path, dice: random.Random) -> bool:
    path.write_bytes(dice.choice([b"[", b'{"a":', b"- "]) * dice.choice([3000, 100_000]))
    return False


def _huge(path: Path, dice: random.Random) -> bool:
    os.truncate(path, _HUGE)
    return False


def _pipe(path: Path, dice: random.Random) -> bool:
    path.unlink()
    os.mkfifo(path)
    return False


def _folder(path: Path, dice: random.Random) -> bool:
    path.unlink()
    path.mkdir()
    return False


def _dangling(path: Path, dice: random.Random) -> bool:
    path.unlink()
    path.symlink_to("nowhere")
    return False


_OTHERS: tuple[Any, ...] = (
    None,
    -1,
    10**30,
    1e308,
    float("nan"),
    "x",
    "",
    [],
    {},
    True,
    [[[]]],
    "9",
)


def _other_value(path: Path, dice: random.Random) -> bool:
    """Replace, remove or add a value of a JSON file; the checksum of a manifest fits again."""
    text = path.read_text(encoding="utf-8")
    head, _, body = text.partition("\n") if path.name == "manifest.json" else ("", "", text)
    lines = body.splitlines() if path.suffix == ".jsonl" else [body]
    line = dice.randrange(len(lines))
    data = yaml.safe_load(lines[line]) if path.suffix == ".yaml" else json.loads(lines[line])
    _change(data, dice)
    lines[line] = json.dumps(data)
    body = "\n".join(lines) + ("\n" if path.suffix == ".jsonl" else "")
    if head:
        body = json.dumps({"blake2b": digest_of(body.encode())}) + "\n" + body
    path.write_text(body, encoding="utf-8")
    if path.name == "run.json":
        _sign(path.with_name("manifest.json"), run=digest_of(body.encode()))
    return True


def _other_version(path: Path, dice: random.Random) -> bool:
    text = path.read_text(encoding="utf-8")
    number = dice.choice(["99", '"1"', "0", "1.5", "null"])
    if path.name == "manifest.json":
        _sign(path, format=json.loads(number))
    elif path.suffix == ".yaml":
        path.write_text(f"format: {number}\n{text}", encoding="utf-8")
    else:
        data = json.loads(text.splitlines()[0] if path.suffix == ".jsonl" else text)
        path.write_text(json.dumps({**data, "format": json.loads(number)}) + "\n", encoding="utf-8")
    return True


def _change(data: Any, dice: random.Random) -> None:
    """Change one value of nested data, at a random place."""
    while True:
        keys = list(data) if isinstance(data, dict) else list(range(len(data)))
        if not keys:
            return
        key = dice.choice(keys)
        inner = data[key]
        if isinstance(inner, dict | list) and inner and dice.random() < 0.7:
            data = inner
            continue
        action = dice.randrange(4)
        if action == 0:
            del data[key]
        elif action == 1 and isinstance(data, dict):
            data["unknown"] = dice.choice(_OTHERS)
        else:
            data[key] = dice.choice(_OTHERS)
        return


def _sign(manifest: Path, **changes: Any) -> None:
    body = json.dumps({**json.loads(manifest.read_text().partition("\n")[2]), **changes})
    manifest.write_text(json.dumps({"blake2b": digest_of(body.encode())}) + "\n" + body)


_ANY: dict[str, Damage] = {
    "bit flipped": _flip,
    "truncated": _truncate,
    "empty": _empty,
    "binary": _binary,
    "nested": _nested,
    "huge": _huge,
    "pipe": _pipe,
    "folder": _folder,
    "dangling link": _dangling,
}
_STRUCTURED: dict[str, Damage] = {"other value": _other_value, "other version": _other_version}
_JSON = (".json", ".jsonl", ".yaml")
_CRAFTED = ("other value", "other version")


@dataclass(frozen=True)
class Case:
    """One damage of one file, and the command that is run on it."""

    seed: int
    target: Target
    command: str
    damage: str


def cases(count: int, seed: int) -> Iterator[Case]:
    """Draw `count` cases; every target and every damage comes in turn."""
    dice = random.Random(seed)
    for number in range(count):
        target = TARGETS[number % len(TARGETS)]
        kinds = list(_ANY)
        if target.pattern.endswith(_JSON):
            kinds += [*_CRAFTED] * 3
        yield Case(seed * 10**6 + number, target, dice.choice(target.commands), dice.choice(kinds))


class Project:
    """A whole project, of which each case damages a copy."""

    def __init__(self, folder: Path) -> None:
        self._whole = folder / "whole"
        self._copy = folder / "copy"
        self._whole.mkdir()
        build_project(self._whole)
        self._results: dict[str, Ended] = {}

    def result(self, name: str) -> Ended:
        """How a command ends on the whole project."""
        if name not in self._results:
            self._renew()
            self._results[name] = run_apart(command(name), self._copy)
            assert self._results[name].code == 0, self._results[name].output
        return self._results[name]

    def problem(self, case: Case) -> str | None:
        """What is wrong with how a command deals with a damage; None if nothing is."""
        whole = self.result(case.command)
        self._renew()
        dice = random.Random(case.seed)
        path = dice.choice(sorted(self._copy.glob(case.target.pattern)))
        is_value = {**_ANY, **_STRUCTURED}[case.damage](path, dice)
        ended = run_apart(command(case.command), self._copy)
        found = _judge(case, ended, whole, is_value=is_value)
        where = f"{case.damage} {path.relative_to(self._copy)}: ptm {case.command}"
        return f"{where}: {found}\n{ended.output[-2000:]}" if found else None

    def _renew(self) -> None:
        shutil.rmtree(self._copy, ignore_errors=True)
        shutil.copytree(self._whole, self._copy, symlinks=True)


def _judge(case: Case, ended: Ended, whole: Ended, *, is_value: bool) -> str | None:
    if ended.code is None:
        return f"took more than {SECONDS:g} s"
    if "Traceback" in ended.output:
        return "traceback"
    if ended.memory_kb > MEMORY_KB:
        return f"{ended.memory_kb:,} kB of memory"
    if ended.code not in (EXIT_DONE, EXIT_FAULT, EXIT_USER):
        return f"exit code {ended.code}"
    if ended.code != EXIT_DONE:
        return None if ended.output.strip() else "no message"
    if ended.output == whole.output or any(word in ended.output for word in _NAMING):
        return None
    crafted = case.damage in _CRAFTED and not case.target.is_derived
    if is_value and (crafted or not case.target.is_protected):
        return None
    return "exit code 0 with another result"


def _main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    drawn: Counter[str] = Counter()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="corruptions-") as folder:
        project = Project(Path(folder))
        for case in cases(options.count, options.seed):
            drawn[case.damage] += 1
            problem = project.problem(case)
            if problem is not None:
                failed += 1
                print(problem, flush=True)
    print(f"{options.count} cases ({dict(drawn)}): {failed} problems")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(_main())
