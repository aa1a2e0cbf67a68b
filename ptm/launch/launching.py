"""Run DeepSpeed's launcher: start it, forward stop requests, wait for ranks, report failures."""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from ptm.errors import EXIT_FAULT, EXIT_INTERRUPTED, EXIT_STOPPED, UserError
from ptm.files.kinds import LAUNCH_FOLDER
from ptm.files.ownership import remove_folder
from ptm.launch.causes import processes_killed_for_memory
from ptm.launch.command import Options
from ptm.launch.environment import (
    LAUNCH,
    SENT,
    Forwarded,
    for_launcher,
    forwarded,
    sent_name,
)
from ptm.launch.hosts import local_host_names
from ptm.launch.notes import RankStatusFiles
from ptm.launch.preflight import Prepared, prepare, search_path
from ptm.launch.processes import (
    RankWatch,
    hosts_with_processes,
    kill_all,
    kill_local,
    local_ranks,
)
from ptm.launch.rank_arguments import SAFE_FOLDER
from ptm.launch.shell import run_on_host, run_on_hosts
from ptm.launch.verdict import LaunchOutcome, common_exit_code, failure_report
from ptm.launch.watchdog import Watchdog
from ptm.rank_status import RankStatus

Echo = Callable[[str], None]

_POLL_SECONDS = 0.3
_HOST_POLL_SECONDS = 3.0
_GRACE_SECONDS = 10.0
"""Between SIGTERM and SIGKILL, if ranks have nothing to save yet."""
_LINGER_SECONDS = 30.0
"""How long the process of a rank may still run after the rank has recorded its end."""
_LAUNCHER_KILLED = (
    "DeepSpeed's launcher was killed while ranks were running; the ranks save and exit"
)


def launch(options: Options, echo: Echo) -> int:
    """Train on the ranks that `options` select; return their common exit code, or EXIT_FAULT.

    `echo` is called with each line for the user. Raises UserError for an invalid recipe, option or
    host before any process is started.
    """
    prepared = prepare(options)
    launching = _Launching(prepared, echo)
    with _StopSignals() as stop_signals:
        try:
            return launching.run(stop_signals)
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

    def __init__(self, prepared: Prepared, echo: Echo) -> None:
        self._prepared = prepared
        self._echo = echo
        self._id = secrets.token_hex(8)
        self._hosts = prepared.target.hosts
        self._ranks = prepared.target.ranks
        slots = prepared.target.slots
        self._host_of_rank = [host for host, ids in slots.items() for _ in ids]
        if prepared.target.local:
            self._host_of_rank = [local_host_names()[0]] * self._ranks
        here = sum(host in local_host_names() for host in self._host_of_rank)
        self._watch = RankWatch(self._id, here)
        self._notes = RankStatusFiles(
            prepared.run, self._id, self._hosts if prepared.node_local else ()
        )
        self._folder: Path | None = None
        self._watchdog: Watchdog | None = None
        self._sent = False
        self._stop_requested = False
        self._ended_early = False

    def run(self, stop_signals: _StopSignals) -> int:
        """Start the launcher, wait until it and all ranks have ended, and report the outcome.

        Returns the exit code, EXIT_INTERRUPTED if the user had all ranks killed.
        """
        environment = self._environment()
        self._echo(shlex.join(self._prepared.command))
        killed_before = processes_killed_for_memory()
        self._watchdog = Watchdog(self._id, self._prepared.stop_file, self._hosts)
        launcher = subprocess.Popen(
            self._prepared.command,
            env=environment,
            cwd=None if self._prepared.target.local else SAFE_FOLDER,
            stdin=subprocess.DEVNULL,
            # In a separate session, the launcher does not receive Ctrl-C from the terminal:
            # DeepSpeed would kill the ranks after 30 seconds, perhaps before they have saved.
            start_new_session=True,
        )
        if not self._wait_for_end(launcher, stop_signals):
            self._echo("killing all processes of this launch")
            kill_all(self._id, signal.SIGKILL, self._hosts)
            launcher.wait()
            return EXIT_INTERRUPTED
        return self._end(launcher.returncode, killed_before, stop_signals)

    def clean(self) -> None:
        """Stop the watchdog, and remove the files that were written for the ranks to read."""
        if self._watchdog is not None:
            self._watchdog.disarm()
        self._watch.close()
        self._remove_sent()
        if self._folder is not None:
            with suppress(OSError, UserError):
                remove_folder(self._folder, LAUNCH_FOLDER)

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
        if "PYTHONPATH" in ours:
            # Ranks start in another folder.
            folders = ours["PYTHONPATH"].split(os.pathsep)
            ours["PYTHONPATH"] = os.pathsep.join(str(Path(one).absolute()) for one in folders)
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
        return {**for_launcher(ours), "DS_ENV_FILE": str(file)}

    def _send(self, forward: Forwarded) -> None:
        self._sent = True
        results = run_on_hosts(self._hosts, forward.script(self._id), given=forward.given())
        failed = {host: one.error for host, one in results.items() if one.code}
        if failed:
            host, error = next(iter(failed.items()))
            raise UserError(f"{host}: cannot write to ~/.cache/ptm: {error}.")

    def _remove_sent(self) -> None:
        if self._sent:
            self._sent = False
            run_on_hosts(self._hosts, f'rm -f "$HOME/.cache/ptm/{sent_name(self._id)}"')

    def _wait_for_end(self, launcher: subprocess.Popen[bytes], stop_signals: _StopSignals) -> bool:
        """Wait until launcher and ranks have ended; False if they are to be killed instead."""
        next_look = 0.0
        while True:
            self._watch.wait(_POLL_SECONDS)
            if stop_signals.at_once:
                return False
            if stop_signals.code is not None and not self._stop_requested:
                self._echo(
                    f"{stop_signals.reason}: stopping (press Ctrl-C to kill all ranks immediately)"
                )
                self._stop(stop_signals.code, launcher)
            ended = launcher.poll() is not None
            if time.monotonic() < next_look:
                continue
            if self._hosts:
                next_look = time.monotonic() + _HOST_POLL_SECONDS
            if ended and not self._ranks_outlive_launcher(launcher):
                return True
            if self._sent and len(self._notes.here()) == self._ranks:
                self._remove_sent()

    def _stop(self, code: int, launcher: subprocess.Popen[bytes]) -> None:
        """Have the ranks save and exit; if none is ready yet, end all processes."""
        self._stop_requested = True
        # Rank 0 alone watches the stop file. Its note shows that it has removed an older file.
        if 0 not in self._all_statuses():
            self._end_early(launcher)
            return
        self._echo("waiting for the checkpoint to be saved, without a time limit")
        file = self._prepared.stop_file
        if self._prepared.node_local and self._hosts:
            run_on_host(self._hosts[0], f"printf {code} >{shlex.quote(str(file))}")
            return
        aside = file.with_name(f"{file.name}.{self._id}")
        aside.write_text(str(code), encoding="utf-8")
        aside.replace(file)

    def _end_early(self, launcher: subprocess.Popen[bytes]) -> None:
        self._ended_early = True
        # The launcher first, and by a signal that it cannot catch: on SIGTERM it would run
        # `pkill -f`, which ends other trainings as well.
        launcher.kill()
        kill_all(self._id, signal.SIGTERM, self._hosts)
        end = time.monotonic() + _GRACE_SECONDS
        while time.monotonic() < end and self._running():
            time.sleep(_POLL_SECONDS)
        kill_all(self._id, signal.SIGKILL, self._hosts)

    def _running(self) -> bool:
        return bool(local_ranks(self._id) or hosts_with_processes(self._id, self._hosts))

    def _ranks_outlive_launcher(self, launcher: subprocess.Popen[bytes]) -> bool:
        """Whether ranks outlive DeepSpeed's launcher, as when it was killed; have them save."""
        notes = self._all_statuses()
        all_ended = len(notes) == self._ranks and all(note.ended for note in notes.values())
        if all_ended:
            end = time.monotonic() + _LINGER_SECONDS
            while time.monotonic() < end and local_ranks(self._id):
                time.sleep(_POLL_SECONDS)
            kill_local(self._id, signal.SIGKILL)
            return False
        if not self._running():
            return False
        if not self._stop_requested:
            self._echo(_LAUNCHER_KILLED)
            self._stop(EXIT_STOPPED, launcher)
        return True

    def _all_statuses(self) -> dict[int, RankStatus]:
        return self._notes.everywhere() if self._prepared.node_local else self._notes.here()

    def _end(self, code: int, killed_before: int | None, stop_signals: _StopSignals) -> int:
        outcome = LaunchOutcome(
            self._all_statuses(),
            self._watch.exits,
            self._ranks,
            code,
            killed_before,
            self._host_of_rank,
        )
        agreed = common_exit_code(outcome)
        if agreed is not None:
            if agreed == EXIT_STOPPED and not self._stop_requested and code != agreed:
                # After a stop request to a rank, the launcher would have exited with 75 too.
                self._echo(_LAUNCHER_KILLED)
            return agreed
        again = self._prepared.options.again()
        if self._ended_early and stop_signals.code is not None:
            self._echo(f"stopped before training started. Start again with: {again}")
            return stop_signals.code
        for line in failure_report(outcome, self._notes, self._prepared.run, again):
            self._echo(line)
        return EXIT_FAULT
