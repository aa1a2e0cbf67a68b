"""KEY=VALUE on the command line."""

from __future__ import annotations

import pytest

from ptm.cli import main
from ptm.errors import EXIT_DONE
from tests.support.small_runs import QUICKSTART


def test_the_last_override_of_a_key_counts(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train.steps=5", "seed=3", "train.global_batch_size=8", "train.steps=6"]
    assert main(["validate", "--print", str(QUICKSTART / "roberta-tiny.yaml"), *words]) == EXIT_DONE
    shown = capsys.readouterr().out
    assert "  steps: 6\n" in shown
    assert "  global_batch_size: 8\n" in shown
