"""Strike a training with faults until it has ended, and compare it with an undisturbed (calm) one.

python benchmarks/storm.py FOLDER [--steps 300] [--faults 30] [--seed 7] [--ranks 2] [--changing]

Both train a tiny RoBERTa on the bundled corpus on CPU ranks. Faults strike at random steps that
depend on the seed, and after each fault the same command is run again. At the end, metrics.jsonl
must equal that of the calm training, apart from timings. With --changing, each start has a random
engine on 1, 2 or 4 ranks, dropout is 0, and the last evaluation must be within 1e-3. FOLDER gets
the log, storm.log, and both metrics.jsonl as calm.jsonl and storm.jsonl. As root, FOLDER/runs is a
small tmpfs, which one kind of fault fills.
"""

from __future__ import annotations

import argparse
import atexit
import json
import math
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[1]
QUICKSTART = PROJECT / "recipes" / "quickstart"
BIN = Path(sys.executable).parent
TIMING = {
    "tokens_per_second",
    "examples_per_second",
    "step_seconds",
    "data_wait_seconds",
    "save_seconds",
    "memory_bytes",
    "model_tflops",
    "mfu",
    "hfu",
}
ENGINES = [
    ("engine.deepspeed=zero0",),
    ("engine.deepspeed=zero1",),
    ("engine.deepspeed=zero2",),
    ("engine.deepspeed=zero3",),
    ("engine.deepspeed=pipeline", "engine.pipeline_stages=2"),
]
RANKS = {1: ENGINES[:4], 2: ENGINES, 4: ENGINES}
"""Number of ranks of a start under --changing -> engines to choose from."""
DISK_BYTES = 48 * 2**20
SECONDS = int(os.environ.get("STORM_SECONDS", "120"))
"""Time limit of a start to reach its next fault, and to end after it (STORM_SECONDS)."""


@dataclass
class Storm:
    """One training in a folder, and the launcher process of its current start."""

    folder: Path
    arguments: list[str]
    name: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def run(self) -> Path:
        return self.folder / "runs" / self.name

    def start(self, ranks: int, *overrides: str) -> None:
        """Start the training, or resume it."""
        with socket.socket() as probe:
            probe.bind(("", 0))
            port = probe.getsockname()[1]
        command = [
            *(str(BIN / "deepspeed"), f"--num_gpus={ranks}", f"--master_port={port}"),
            *(str(PROJECT / "launch" / "train.py"), *self.arguments, *overrides),
        ]
        environment = {
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "PYTHONPATH": str(PROJECT),
            "OMP_NUM_THREADS": "1",
            "DS_ACCELERATOR": "cpu",
            "CUDA_VISIBLE_DEVICES": "",
            "TORCHDYNAMO_DISABLE": "1",
        }
        with (self.folder / "output").open("ab") as output:
            self.process = subprocess.Popen(
                command,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def step(self) -> int:
        """The step of the newest report."""
        try:
            last = (self.run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1]
            return int(json.loads(last)["step"])
        except (OSError, IndexError, ValueError):
            return 0

    def await_step(self, step: int) -> bool:
        """Wait until `step` is reported; returns False if the training ends before that."""
        assert self.process is not None
        end = time.monotonic() + SECONDS
        while self.step() < step:
            if self.process.poll() is not None:
                return False
            if time.monotonic() > end:
                raise SystemExit(f"step {step} was not reached within {SECONDS} s")
            time.sleep(0.02)
        return True

    def rank_pids(self) -> list[int]:
        """Process ids of the ranks that have written a status file."""
        files = sorted((self.run / "ranks").glob("rank*.json"))
        return [json.loads(file.read_text(encoding="utf-8"))["pid"] for file in files]

    def launcher_pids(self) -> list[int]:
        """Process ids of DeepSpeed's launch.py, the parent of the ranks."""
        assert self.process is not None
        listed = subprocess.run(
            ["ps", "-eo", "pid,pgid,args"], capture_output=True, text=True, check=True
        )
        rows = [line.split(None, 2) for line in listed.stdout.splitlines()[1:]]
        group = str(self.process.pid)
        return [int(r[0]) for r in rows if r[1] == group and "deepspeed.launcher.launch" in r[2]]

    def await_end(self) -> int:
        """Wait until launcher and ranks have ended; returns the launcher's exit code."""
        assert self.process is not None
        try:
            code = self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.kill_everything()
            raise SystemExit(f"the launch did not end within {SECONDS} s after a fault") from None
        end = time.monotonic() + SECONDS
        while any(_alive(pid) for pid in self.rank_pids()):
            if time.monotonic() > end:
                raise SystemExit("a rank outlived its launcher")
            time.sleep(0.05)
        return code

    def kill_everything(self) -> None:
        """`kill -9` of the launcher and all ranks."""
        assert self.process is not None
        pids = self.rank_pids()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        for pid in pids:
            _kill(pid, signal.SIGKILL)
        self.process.wait()


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def _kill(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _newest(storm: Storm) -> Path | None:
    folders = list((storm.run / "checkpoints").glob("global_step*[0-9]"))
    return max(folders, key=lambda f: int(f.name.removeprefix("global_step")), default=None)


# Faults. Each may draw random numbers from `dice`.


def kill_a_rank(storm: Storm, dice: random.Random) -> None:
    _kill(dice.choice(storm.rank_pids()), signal.SIGKILL)


def kill_the_launcher(storm: Storm, dice: random.Random) -> None:
    for pid in storm.launcher_pids():
        _kill(pid, signal.SIGKILL)


def kill_all(storm: Storm, dice: random.Random) -> None:
    storm.kill_everything()


def terminate_a_rank(storm: Storm, dice: random.Random) -> None:
    _kill(dice.choice(storm.rank_pids()), signal.SIGTERM)


def ask_a_rank(storm: Storm, dice: random.Random) -> None:
    _kill(dice.choice(storm.rank_pids()), signal.SIGUSR1)


def fill_the_disk(storm: Storm, dice: random.Random) -> None:
    """Fill the disk completely until the training has ended by itself."""
    stuffing = storm.run.parent / "stuffing"
    with stuffing.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert storm.process is not None
    with suppress(subprocess.TimeoutExpired):
        storm.process.wait(SECONDS)
    stuffing.unlink()


def take_the_folder(storm: Storm, dice: random.Random) -> None:
    """Replace the checkpoint folder by a file, so that a save fails; then kill everything."""
    folder = storm.run / "checkpoints"
    before = _newest(storm)
    aside = folder.with_name("checkpoints.aside")
    folder.rename(aside)
    folder.write_text("no folder here", encoding="utf-8")
    time.sleep(dice.uniform(0.2, 1.0))
    storm.kill_everything()
    folder.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)
    assert before is None or before.exists()


def _damaging(damage: Callable[[Path, random.Random], None]) -> Callable[..., None]:
    def fault(storm: Storm, dice: random.Random) -> None:
        storm.kill_everything()
        newest = _newest(storm)
        # Keep one intact checkpoint: a run whose checkpoints are all damaged starts from scratch.
        if newest is not None and len(list(newest.parent.glob("global_step*[0-9]"))) > 1:
            damage(newest, dice)

    return fault


def _truncate(folder: Path, dice: random.Random) -> None:
    path = dice.choice([p for p in sorted(folder.glob("rank*.bin")) if p.stat().st_size])
    os.truncate(path, dice.randrange(path.stat().st_size))


def _flip(folder: Path, dice: random.Random) -> None:
    # A rank without fragments has written an empty file.
    path = dice.choice([p for p in sorted(folder.iterdir()) if p.stat().st_size])
    data = bytearray(path.read_bytes())
    data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    path.write_bytes(bytes(data))


def _remove_manifest(folder: Path, dice: random.Random) -> None:
    (folder / "manifest.json").unlink()


FAULTS: dict[str, Callable[[Storm, random.Random], None]] = {
    "kill -9 of a rank": kill_a_rank,
    "kill -9 of the launcher": kill_the_launcher,
    "kill -9 of everything": kill_all,
    "SIGTERM to a rank": terminate_a_rank,
    "SIGUSR1 to a rank": ask_a_rank,
    "full disk": fill_the_disk,
    "checkpoints cannot be written": take_the_folder,
    "newest checkpoint truncated": _damaging(_truncate),
    "newest checkpoint bit-flipped": _damaging(_flip),
    "newest manifest removed": _damaging(_remove_manifest),
}


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--faults", type=int, default=30)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--changing", action="store_true")
    parsed = parser.parse_args(words)
    parsed.folder.mkdir(parents=True)
    log = (parsed.folder / "storm.log").open("w", encoding="utf-8")

    def report(text: str) -> None:
        print(text, flush=True)
        print(text, file=log, flush=True)

    dice = random.Random(parsed.seed)
    arguments = small_training(parsed.folder, steps=parsed.steps, dropout=not parsed.changing)
    runs = parsed.folder / "runs"
    runs.mkdir()
    faults = sorted(FAULTS if small_disk(runs) else FAULTS.keys() - {"full disk"})
    calm = Storm(parsed.folder, [*arguments, "name=calm"], "calm")
    calm.start(parsed.ranks, "engine.deepspeed=zero1")
    assert calm.await_end() == 0, "the calm training failed"
    storm = Storm(parsed.folder, [*arguments, "name=storm"], "storm")
    began, count, starts = time.monotonic(), 0, 0
    deck: list[str] = []
    while True:
        ranks, engine = parsed.ranks, ENGINES[1]
        if parsed.changing:
            ranks = dice.choice(sorted(RANKS))
            engine = dice.choice(RANKS[ranks])
        before = storm.step()
        storm.start(ranks, *engine)
        starts += 1
        left = parsed.faults - count
        if left > 0:
            # Spread the faults so that the last steps come after the last fault.
            stride = max(1, (parsed.steps - before) // (left + 1))
            target = min(parsed.steps - 1, before + dice.randint(1, stride + 3))
            if storm.await_step(target):
                deck = deck or dice.sample(faults, len(faults))
                name = deck.pop()
                count += 1
                at = storm.step()
                FAULTS[name](storm, dice)
                code = storm.await_end()
                layout = f"{ranks} x {' '.join(engine)}"
                report(f"{count:3} step {at:4} {layout:<59} {name:<32} exit {code}")
                continue
        code = storm.await_end()
        if code == 0:
            break
        raise SystemExit(
            f"the training ended with {code} without a fault: see {parsed.folder / 'output'}"
        )
    report(f"{count} faults, {starts} starts, {time.monotonic() - began:.0f} s")
    for name in ("calm", "storm"):
        shutil.copy(runs / name / "metrics.jsonl", parsed.folder / f"{name}.jsonl")
    return verdict(runs, exact=not parsed.changing, report=report)


def small_disk(folder: Path) -> bool:
    """Mount a small tmpfs at `folder` until this process ends; returns False if not permitted."""
    options = f"size={DISK_BYTES}"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "ptm-storm", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode == 0:
        atexit.register(subprocess.run, ["umount", "--lazy", str(folder)], check=False)
    return mounted.returncode == 0


def small_training(folder: Path, *, steps: int, dropout: bool) -> list[str]:
    """Arguments of a small training; makes its store if it is absent."""
    recipe = str(QUICKSTART / "roberta-tiny.yaml")
    arguments = [
        recipe,
        f"runs_dir={folder / 'runs'}",
        f"tokenizer.vocab={QUICKSTART / 'vocab.txt'}",
        f"data.corpus={QUICKSTART / 'corpus'}/*.txt",
        f"data.store={folder / 'store'}",
        "data.sequence_length=64",
        "model.encoder.layers=3",
        "model.encoder.hidden_size=32",
        "model.encoder.feed_forward_size=64",
        f"model.dropout={0.1 if dropout else 0.0}",
        f"train.steps={steps}",
        "train.global_batch_size=8",
        "train.micro_batch_size=2",
        "checkpoint.every=5",
        "checkpoint.keep=3",
        "tracking.log_every=1",
        f"tracking.evaluate_every={max(1, steps // 5)}",
    ]
    ptm = [str(BIN / "ptm"), "preprocess", *arguments, "name=none"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    subprocess.run(ptm, check=True, env=environment, stdout=subprocess.DEVNULL)
    return arguments


def verdict(runs: Path, *, exact: bool, report: Callable[[str], None]) -> int:
    """Compare the reports of the two trainings; returns the exit code."""
    calm, storm = (reports(runs / name) for name in ("calm", "storm"))
    if exact:
        same = calm == storm
        report(f"metrics.jsonl: {len(storm)} reports, {'equal' if same else 'NOT EQUAL'}")
        return 0 if same else 1
    one, other = calm[-1]["loss"], storm[-1]["loss"]
    apart = abs(one - other) / one
    report(f"last evaluation: {one:.6f} calm, {other:.6f} after the storm, {apart:.1e} apart")
    return 0 if math.isfinite(apart) and apart <= 1e-3 else 1


def reports(run: Path) -> list[dict[str, Any]]:
    """The records of a run's metrics.jsonl, without timings."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        {
            key: value
            for key, value in json.loads(line).items()
            if key not in TIMING and not key.startswith("system/")
        }
        for line in lines
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
