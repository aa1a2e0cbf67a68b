"""Run DeepSpeed's launcher: start it, forward stop requests, wait for ranks, report failures."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from ptm.errors import EXIT_FAULT, EXIT_INTERRUPTED, EXIT_STOPPED, UserError
from ptm.launch.causes import processes_killed_for_memory
from ptm.launch.command import Options
from ptm.launch.environment import (
    LAUNCH,
    SENT,
    Forwarded,
    forwarded,
    sent_name,
    without_secrets,
)
from ptm.launch.hosts import names_here
from ptm.launch.notes import Notes, RankStatus
from ptm.launch.preflight import Prepared, prepare, search_path
from ptm.launch.processes import (
    RankWatch,
    hosts_with_processes,
    kill_everywhere,
    kill_here,
    ranks_here,
)
from ptm.launch.shell import on_host, on_hosts
from ptm.launch.verdict import LaunchOutcome, common_exit_code, explanation
from ptm.launch.watchdog import Watchdog

Tell = Callable[[str], None]

_LOOK_SECONDS = 0.3
_LOOK_AT_HOSTS_SECONDS = 3.0
_GRACE_SECONDS = 10.0
"""Between SIGTERM and SIGKILL, if ranks have nothing to save yet."""
_LINGER_SECONDS = 30.0
"""How long the process of a rank may still run after the rank has recorded its end."""
_LEFT = "DeepSpeed's launcher was killed while ranks were running; the ranks save and exit"


def launch(options: Options, tell: Tell) -> int:
    """Train on the ranks that `options` select; return their common exit code, or EXIT_FAULT.

    `tell` is called with each line for the user. Raises UserError for an invalid recipe, option or
    host before any process is started.
    """
    prepared = prepare(options)
    launching = _Launching(prepared, tell)
    with _StopSignals() as asked:
        try:
            return launching.run(asked)
        finally:
            launching.clean()


class _StopSignals:
    """Context manager that records SIGTERM, SIGUSR1, SIGHUP and Ctrl-C as requests to stop."""

    def __init__(self) -> None:
        self.code: int | None = None
        """The exit code that the first signal requests; None before a signal."""
        self.reason = ""
        self.at_once = False
        """Whether Ctrl-C came as a second signal: kill without saving."""
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> _StopSignals:
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _take(self, number: int, frame: FrameType | None) -> None:
        interrupted = number == signal.SIGINT
        self.at_once = self.at_once or (interrupted and self.code is not None)
        if self.code is None:
            self.code = EXIT_INTERRUPTED if interrupted else EXIT_STOPPED
            self.reason = "Ctrl-C" if interrupted else signal.Signals(number).name


class _Launching:
    """One launch, from the start of DeepSpeed's launcher to the final report."""

    def __init__(self, prepared: Prepared, tell: Tell) -> None:
        self._prepared = prepared
        self._tell = tell
        self._id = secrets.token_hex(8)
        self._hosts = prepared.target.hosts
        self._ranks = prepared.target.ranks
        slots = prepared.target.slots
        self._host_of_rank = [host for host, ids in slots.items() for _ in ids]
        if prepared.target.local:
            self._host_of_rank = [names_here()[0]] * self._ranks
        here = sum(host in names_here() for host in self._host_of_rank)
        self._watch = RankWatch(self._id, here)
        self._notes = Notes(prepared.run, self._id, self._hosts if prepared.node_local else ())
        self._folder: Path | None = None
        self._tether: Watchdog | None = None
        self._sent = False
        self._told_to_stop = False
        self._ended_early = False

    def run(self, asked: _StopSignals) -> int:
        """Start the launcher, wait for it and its ranks, report; return the exit code."""
        environment = self._environment()
        self._tell(shlex.join(self._prepared.command))
        killed_before = processes_killed_for_memory()
        self._tether = Watchdog(self._id, self._prepared.stop_file, self._hosts)
        launcher = subprocess.Popen(
            self._prepared.command,
            env=environment,
            stdin=subprocess.DEVNULL,
            # In a separate session, the launcher does not receive Ctrl-C from the terminal:
            # DeepSpeed would kill the ranks after 30 seconds, perhaps before they have saved.
            start_new_session=True,
        )
        if not self._mind(launcher, asked):
            self._tell("killing all processes of this launch")
            kill_everywhere(self._id, signal.SIGKILL, self._hosts)
            launcher.wait()
            return EXIT_INTERRUPTED
        return self._end(launcher.returncode, killed_before, asked)

    def clean(self) -> None:
        """Stop the watchdog, and remove the files that were written for the ranks to read."""
        if self._tether is not None:
            self._tether.disarm()
        self._watch.close()
        self._remove_sent()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _environment(self) -> dict[str, str]:
        """The environment of DeepSpeed's launcher; for other hosts, also send them the secrets."""
        ours = {**os.environ, LAUNCH: self._id, "PATH": search_path()}
        # Set if this is a launch inside another launch.
        for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_SIZE", SENT):
            ours.pop(name, None)
        if self._prepared.target.local:
            if self._prepared.target.gpus:
                # The command names the GPUs.
                ours.pop("CUDA_VISIBLE_DEVICES", None)
            return ours
        forward = forwarded(ours)
        forward.add(LAUNCH, self._id)
        options = self._prepared.options
        if options.launcher == "openmpi":
            # DeepSpeed does not pass these options to mpirun.
            meeting = {"MASTER_ADDR": options.master_addr, "MASTER_PORT": options.master_port}
            for name, value in meeting.items():
                if value is not None:
                    forward.add(name, str(value))
        if forward.sent:
            self._send(forward)
            forward.add(SENT, sent_name(self._id))
        self._folder = Path(tempfile.mkdtemp(prefix="ptm-launch-"))
        file = self._folder / "deepspeed_env"
        file.write_text(forward.env_file(), encoding="utf-8")
        return {**without_secrets(ours), "DS_ENV_FILE": str(file)}

    def _send(self, forward: Forwarded) -> None:
        self._sent = True
        said = on_hosts(self._hosts, forward.script(self._id), given=forward.given())
        failed = {host: one.error for host, one in said.items() if one.code}
        if failed:
            host, error = next(iter(failed.items()))
            raise UserError(f"{host}: cannot write to ~/.cache/ptm: {error}.")

    def _remove_sent(self) -> None:
        if self._sent:
            self._sent = False
            on_hosts(self._hosts, f'rm -f "$HOME/.cache/ptm/{sent_name(self._id)}"')

    def _mind(self, launcher: subprocess.Popen[bytes], asked: _StopSignals) -> bool:
        """Wait until launcher and ranks have ended; False if they are to be killed instead."""
        next_look = 0.0
        while True:
            self._watch.wait(_LOOK_SECONDS)
            if asked.at_once:
                return False
            if asked.code is not None and not self._told_to_stop:
                self._tell(f"{asked.reason}: stopping (press Ctrl-C to kill all ranks immediately)")
                self._stop(asked.code, launcher)
            ended = launcher.poll() is not None
            if time.monotonic() < next_look:
                continue
            if self._hosts:
                next_look = time.monotonic() + _LOOK_AT_HOSTS_SECONDS
            if ended and not self._left_behind(launcher):
                return True
            if self._sent and len(self._notes.here()) == self._ranks:
                self._remove_sent()

    def _stop(self, code: int, launcher: subprocess.Popen[bytes]) -> None:
        """Have the ranks save and exit; if none is ready yet, end all processes."""
        self._told_to_stop = True
        # Rank 0 alone watches the stop file. Its note shows that it has removed an older file.
        if 0 not in self._all_notes():
            self._end_early(launcher)
            return
        self._tell("waiting for the checkpoint to be saved, without a time limit")
        file = self._prepared.stop_file
        if self._prepared.node_local and self._hosts:
            on_host(self._hosts[0], f"printf {code} >{shlex.quote(str(file))}")
            return
        aside = file.with_name(f"{file.name}.{self._id}")
        aside.write_text(str(code), encoding="utf-8")
        aside.replace(file)

    def _end_early(self, launcher: subprocess.Popen[bytes]) -> None:
        self._ended_early = True
        # The launcher first, and by a signal that it cannot catch: on SIGTERM it would run
        # `pkill -f`, which ends other trainings as well.
        launcher.kill()
        kill_everywhere(self._id, signal.SIGTERM, self._hosts)
        end = time.monotonic() + _GRACE_SECONDS
        while time.monotonic() < end and self._running():
            time.sleep(_LOOK_SECONDS)
        kill_everywhere(self._id, signal.SIGKILL, self._hosts)

    def _running(self) -> bool:
        return bool(ranks_here(self._id) or hosts_with_processes(self._id, self._hosts))

    def _left_behind(self, launcher: subprocess.Popen[bytes]) -> bool:
        """Whether ranks outlive DeepSpeed's launcher, as when it was killed; have them save."""
        notes = self._all_notes()
        all_ended = len(notes) == self._ranks and all(note.ended for note in notes.values())
        if all_ended:
            end = time.monotonic() + _LINGER_SECONDS
            while time.monotonic() < end and ranks_here(self._id):
                time.sleep(_LOOK_SECONDS)
            kill_here(self._id, signal.SIGKILL)
            return False
        if not self._running():
            return False
        if not self._told_to_stop:
            self._tell(_LEFT)
            self._stop(EXIT_STOPPED, launcher)
        return True

    def _all_notes(self) -> dict[int, RankStatus]:
        return self._notes.everywhere() if self._prepared.node_local else self._notes.here()

    def _end(self, code: int, killed_before: int | None, asked: _StopSignals) -> int:
        evidence = LaunchOutcome(
            self._all_notes(),
            self._watch.deaths,
            self._ranks,
            code,
            killed_before,
            self._host_of_rank,
        )
        agreed = common_exit_code(evidence)
        if agreed is not None:
            if agreed == EXIT_STOPPED and not self._told_to_stop and code != agreed:
                # After a stop request to a rank, the launcher would have exited with 75 too.
                self._tell(_LEFT)
            return agreed
        again = self._prepared.options.again()
        if self._ended_early and asked.code is not None:
            self._tell(f"stopped before training started. Start again with: {again}")
            return asked.code
        for line in explanation(evidence, self._notes, self._prepared.run, again):
            self._tell(line)
        return EXIT_FAULT
