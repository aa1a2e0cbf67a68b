"""`ptm tail` prints whole lines, and follows a run until it ends."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from ptm.cli.entry import main
from ptm.errors import EXIT_DONE, EXIT_USER
from tests.support.run_folders import write_rank, write_run


def test_the_last_whole_lines_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "a", log="one\ntwo\nthree \x1b[31m\nunfinish")
    assert main(["tail", str(run), "-n", "2"]) == EXIT_DONE
    assert capsys.readouterr().out == "two\nthree \\u001b[31m\n"


def test_following_ends_with_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "a", log="one\n")
    write_rank(run, 0)

    def end() -> None:
        time.sleep(0.7)
        with (run / "train.log").open("a", encoding="utf-8") as log:
            log.write("two\n")
        write_rank(run, 0, phase="ended", code=75, error=None)

    thread = threading.Thread(target=end)
    thread.start()
    assert main(["tail", str(run), "--follow"]) == EXIT_DONE
    thread.join()
    assert capsys.readouterr().out == f"one\ntwo\n{run}: stopped\n"


def test_a_folder_without_a_log_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tail", str(tmp_path)]) == EXIT_USER
    assert "it has no train.log" in capsys.readouterr().err
