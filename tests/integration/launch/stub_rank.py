"""A rank that trains nothing and loads neither torch nor DeepSpeed: its steps are short sleeps.

Launches are about processes, signals and files, and a real rank takes seconds to load. What tells
`ptm launch` about a rank is ptm's own: its notes, its stop requests, its end with its parent. Steps
end in an exchange with the other ranks, as a training's do.
"""

from __future__ import annotations

import os
import socket
import sys
import time
import traceback
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path

from ptm.errors import EXIT_FAULT
from ptm.launch.command import unpacked
from ptm.launch.environment import receive
from ptm.launch.verdict import is_consequence
from ptm.train.rank_file import RankFile
from ptm.train.stopping import StopRequests, stop_with_parent

RANK, WORLD = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
LOADING_SECONDS = 2.0
"""What a rank takes to load, in which `ptm launch`, looking once a second, finds it."""
STEP_SECONDS = 0.02
CHECKPOINT_EVERY = 20


def main(words: list[str]) -> int:
    """One rank of one launch; the exit code."""
    receive()
    stop_with_parent()
    time.sleep(LOADING_SECONDS)
    settings = dict(word.partition("=")[::2] for word in unpacked(words))
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
    """Steps until a rank is asked to stop; the exit code, the same on all ranks.

    `seconds`: for which a rank waits for another.
    """
    others = meet(f"/tmp/ptm-stub-{os.environ['PTM_LAUNCH']}")
    step = 0
    while True:
        rank_file.note("training", step)
        code = agree(stop.due(progressed=step > 0), others, seconds=seconds)
        if code is not None:
            save(run, step)
            say(f"stopped at step {step} ({stop.reason or 'another rank was asked to'}) and saved")
            return code
        time.sleep(STEP_SECONDS)
        step += 1
        if step % CHECKPOINT_EVERY == 0:
            save(run, step)
            say(f"step {step}/endless")


def meet(address: str) -> list[Connection]:
    """The connections of rank 0 to all others, or of another rank to it alone."""
    if RANK == 0:
        with Listener(address, "AF_UNIX") as listener:
            return [listener.accept() for _ in range(WORLD - 1)]
    while not Path(address).exists():
        time.sleep(0.01)
    return [Client(address, "AF_UNIX")]


def agree(code: int | None, others: list[Connection], *, seconds: float) -> int | None:
    """The exit code of any rank that has one.

    Raises ConnectionResetError when a rank is gone, RuntimeError when one does not answer; both say
    what gloo says.
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
    """A folder with the name of a checkpoint, which is all that `ptm launch` looks at."""
    if RANK == 0:
        (run / "checkpoints" / f"global_step{step}").mkdir(parents=True, exist_ok=True)


def say(text: str) -> None:
    if RANK == 0:
        print(text, flush=True)


# Run by `sitecustomize`, before Python would run launch/train.py. Whatever is left is not waited
# for: the interpreter has not finished starting.
code = EXIT_FAULT
try:
    code = main(sys.argv[1:])
except BaseException:
    traceback.print_exc()
finally:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
