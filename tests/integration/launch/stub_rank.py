"""A rank that trains nothing and loads neither torch nor DeepSpeed: its steps are short sleeps.

Tests of launches are about processes, signals and files, and a real rank takes seconds to load. The
parts of a rank that `ptm launch` interacts with are ptm's own code: status files, stop requests,
and the end with its parent. As in a training, each step ends in an exchange with the other ranks.
"""

from __future__ import annotations

import os
import socket
import sys
import time
import traceback
from contextlib import suppress
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path

from ptm.errors import EXIT_FAULT
from ptm.launch.environment import receive
from ptm.launch.rank_arguments import decode_arguments
from ptm.launch.verdict import is_consequence
from ptm.train.rank_file import RankFile
from ptm.train.stopping import StopRequests, stop_with_parent

# As DeepSpeed's launcher or mpirun sets them.
RANK, WORLD = (
    int(os.environ.get(name) or os.environ[f"OMPI_COMM_{of_mpi}"])
    for name, of_mpi in (("RANK", "WORLD_RANK"), ("WORLD_SIZE", "WORLD_SIZE"))
)
LOADING_SECONDS = 2.0
"""Simulated loading time, in which `ptm launch`, which looks once per second, finds the rank."""
STEP_SECONDS = 0.02
CHECKPOINT_EVERY = 20


def main(words: list[str]) -> int:
    """Run one rank of a launch; returns its exit code."""
    receive()
    stop_with_parent()
    time.sleep(LOADING_SECONDS)
    settings = dict(word.partition("=")[::2] for word in decode_arguments(words))
    run = Path(settings["runs_dir"]) / settings["name"]
    run.mkdir(parents=True, exist_ok=True)
    arrived = (os.environ.get("WANDB_API_KEY", "")[:6], os.environ.get("HF_HOME", ""))
    (run / f"arrived-{socket.gethostname()}").write_text("|".join(arrived))
    seconds = 60 * float(settings.get("engine.timeout_minutes", 30))
    with StopRequests(wall_time_hours=None) as stop:
        if RANK == 0:
            stop.watch(run / "stop")
        try:
            with RankFile(run, rank=RANK, world_size=WORLD) as rank_file:
                rank_file.code = train(run, rank_file, stop, seconds=seconds)
                return rank_file.code
        except (OSError, RuntimeError) as error:
            if not is_consequence(str(error)):
                raise
            return EXIT_FAULT


def train(run: Path, rank_file: RankFile, stop: StopRequests, *, seconds: float) -> int:
    """Take steps until a rank gets a stop request; returns the exit code, the same on all ranks.

    `seconds`: how long a rank waits for another one.
    """
    others = meet(f"/tmp/ptm-stub-{os.environ['PTM_LAUNCH']}")
    step = 0
    while True:
        rank_file.note("training", step)
        code = agree(stop.due(progressed=step > 0), others, seconds=seconds)
        if code is not None:
            save(run, step)
            say(f"stopped at step {step} ({stop.reason or 'request to another rank'}) and saved")
            return code
        time.sleep(STEP_SECONDS)
        step += 1
        if step % CHECKPOINT_EVERY == 0:
            save(run, step)
            say(f"step {step}/endless")


def meet(address: str) -> list[Connection]:
    """Connections: on rank 0 one to each other rank, on other ranks one to rank 0."""
    if RANK == 0:
        with Listener(address, "AF_UNIX") as listener:
            return [listener.accept() for _ in range(WORLD - 1)]
    while True:
        # Between its creation and the first call of listen(), a socket refuses connections.
        with suppress(FileNotFoundError, ConnectionRefusedError):
            return [Client(address, "AF_UNIX")]
        time.sleep(0.01)


def agree(code: int | None, others: list[Connection], *, seconds: float) -> int | None:
    """Share exit codes among ranks; returns that of the first rank that has one, or None.

    Raises ConnectionResetError if a rank has ended and RuntimeError if a rank does not answer, with
    the messages of gloo.
    """
    try:
        if RANK == 0:
            codes = [code, *(received(other, seconds) for other in others)]
            code = next((one for one in codes if one is not None), None)
            for other in others:
                other.send(code)
            return code
        (first,) = others
        first.send(code)
        return received(first, seconds)
    except EOFError:
        raise ConnectionResetError("Connection closed by peer") from None


def received(other: Connection, seconds: float) -> int | None:
    if not other.poll(seconds):
        raise RuntimeError(f"Timed out waiting {1000 * seconds:.0f}ms for recv operation")
    code: int | None = other.recv()
    return code


def save(run: Path, step: int) -> None:
    """Make a folder with the name of a checkpoint; `ptm launch` looks at the name only."""
    if RANK == 0:
        (run / "checkpoints" / f"global_step{step}").mkdir(parents=True, exist_ok=True)


def say(text: str) -> None:
    if RANK == 0:
        print(text, flush=True)


# `sitecustomize` runs this before Python would run launch/train.py. os._exit skips the normal
# shutdown, because the interpreter has not finished its start.
code = EXIT_FAULT
try:
    code = main(sys.argv[1:])
except BaseException:
    traceback.print_exc()
finally:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
