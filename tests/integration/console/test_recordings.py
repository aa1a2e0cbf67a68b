"""What a user sees of trainings: recordings of a terminal of 80 x 24, and of a file."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ptm.errors import EXIT_DONE, EXIT_INTERRUPTED
from tests.support.small_runs import PROJECT
from tests.support.terminal import Recording, record

BAR = "━"
RUN = "书评/run"
ESCAPE, RETURN = b"\x1b", b"\r"


@pytest.fixture(scope="module")
def training(user_folder: Path, small: list[str]) -> Recording:
    # Long enough for some drawings of the live line, which are a quarter of a second apart.
    words = ["train", *small, "name=run", "runs_dir=书评", "train.steps=120", "checkpoint.every=60"]
    return record(
        [*words, "tracking.log_every=20", "tracking.evaluate_every=1000"], folder=user_folder
    )


def live_lines(recording: Recording) -> list[str]:
    """The live line on every screen that has one; it is the last line there, and the only one."""
    found = []
    for screen in recording.screens:
        bars = [number for number, line in enumerate(screen) if BAR in line]
        assert bars in ([], [len(screen) - 1]), screen
        found += [screen[-1]] if bars else []
    return found


def test_a_training_ends_with_its_reports_and_without_fragments(training: Recording) -> None:
    assert training.code == EXIT_DONE
    starts = ["tiny.yaml: starting", f"{RUN}: 48,945 parameters, objective mlm", "data: "]
    starts += ["batch: 8 rows = 1 data-parallel rank x 2 accumulated x 4 per micro-batch"]
    starts += ["engine: zero1 in fp32, 1 rank on CPUs", "step 1/120 · first report at step 20"]
    starts += [f"step {step}/120 · loss " for step in range(20, 121, 20)]
    starts += ["step 120/120 · eval · loss ", f"{RUN}: done in 0:"]
    assert len(training.final) == len(starts)
    for line, start in zip(training.final, starts, strict=True):
        assert line.startswith(start)


def test_no_line_is_wider_than_the_terminal(training: Recording) -> None:
    assert training.widest <= 80


def test_the_live_line_changes_in_place_below_the_reports(training: Recording) -> None:
    lines = live_lines(training)
    assert len(set(lines)) >= 2
    assert any(re.search(r" [1-9]\d*/120 ", line) for line in lines)
    with_reports = [screen for screen in training.screens if BAR in screen[-1] and len(screen) > 8]
    assert with_reports


def test_the_first_lines_come_before_the_user_wonders(training: Recording) -> None:
    # Processor seconds, because other programs may use the machine: 0.9 and 4.3 when this was
    # written. On an idle machine they are about the seconds of the clock.
    assert training.first_line is not None
    assert training.first_step is not None
    assert training.first_line < 2
    assert training.first_step < 10


def test_the_end_is_green(training: Recording) -> None:
    assert f"\x1b[32m{RUN}: done in ".encode() in training.raw


@pytest.mark.slow
def test_a_training_that_is_interrupted_says_so_and_resumes(
    user_folder: Path, small: list[str]
) -> None:
    words = ["train", *small, "name=interrupted", "train.steps=2000", "checkpoint.every=1000"]
    first = record(
        words,
        folder=user_folder,
        interrupt_when=lambda screen: any(line.startswith("step 8/") for line in screen),
    )
    assert first.code == EXIT_INTERRUPTED
    assert first.final[-1].startswith("stopped at step ")
    assert "(SIGINT) and saved; run the same command" in first.final[-1] + first.final[-1]
    assert not any(BAR in line for line in first.final)
    assert first.widest <= 80
    live_lines(first)
    stopped = int(first.final[-1].split()[3])
    second = record(
        [*words, f"train.steps={stopped + 400}"],
        folder=user_folder,
    )
    assert second.code == EXIT_DONE
    assert any(line.startswith(f"resuming from step {stopped} ") for line in second.final)
    assert not any(BAR in line for line in second.final)
    assert live_lines(second)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["a file", "NO_COLOR", "TERM=dumb"])
def test_plain_lines_have_no_control_characters(
    case: str, user_folder: Path, small: list[str]
) -> None:
    words = ["train", *small, f"name=plain-{case.replace(' ', '-').replace('=', '-')}"]
    if case == "a file":
        log = user_folder / "out.log"
        with log.open("wb") as file:
            done = subprocess.run(
                [sys.executable, "-m", "ptm", *words],
                cwd=user_folder,
                env={"PYTHONPATH": str(PROJECT), "TERM": "xterm-256color"},
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        code, raw = done.returncode, log.read_bytes()
    else:
        name, _, value = case.partition("=")
        found = record(words, folder=user_folder, environment={name: value or "1"})
        # The terminal itself turns line ends into these two characters.
        code, raw = found.code, found.raw.replace(b"\r\n", b"\n")
    assert code == EXIT_DONE
    assert ESCAPE not in raw
    assert RETURN not in raw
    assert BAR.encode() not in raw
    assert b"ETA 0:" in raw
    assert raw.count(b"\n") > 10


@pytest.mark.slow
@pytest.mark.parametrize("columns", [40, 200])
def test_the_line_fits_narrow_and_wide_terminals(
    columns: int, user_folder: Path, small: list[str]
) -> None:
    found = record(
        ["train", *small, f"name=w{columns}", "train.steps=400", "tracking.log_every=100"],
        columns=columns,
        folder=user_folder,
    )
    assert found.code == EXIT_DONE
    lines = live_lines(found)
    assert lines
    assert all("ETA" in line for line in lines)
    assert not any(BAR in line for line in found.final)
    if columns == 200:
        assert any("mlm_accuracy" in line and "GB" in line for line in lines)


@pytest.mark.slow
def test_commands_with_a_model_show_their_progress_on_stderr_alone(
    user_folder: Path, small: list[str]
) -> None:
    trained = record(["train", *small, "name=model"], folder=user_folder)
    assert trained.code == EXIT_DONE
    evaluated = record(["evaluate", "runs/model"], folder=user_folder)
    assert evaluated.code == EXIT_DONE
    assert evaluated.first_line is not None
    assert evaluated.first_line < 2
    assert evaluated.screens[0][0].startswith("loading the model")
    assert any("rows" in line for line in live_lines(evaluated))
    assert not any(BAR in line for line in evaluated.final)
    exported = record(["export", "runs/model", "export", "--to", "hf"], folder=user_folder)
    assert exported.code == EXIT_DONE
    assert exported.final == ["export: step 12 of runs/model, for transformers"]
    imported = record(["import", "export", "import", "--from", "hf"], folder=user_folder)
    assert imported.final[0].startswith("import: 48,945 parameters from export")
    quiet = record(["export", "runs/model", "quiet", "--to", "hf", "--quiet"], folder=user_folder)
    assert (quiet.code, quiet.raw) == (EXIT_DONE, b"")
