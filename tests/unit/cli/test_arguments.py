"""KEY=VALUE on the command line."""

from __future__ import annotations

import pytest

from ptm.cli import main
from ptm.errors import EXIT_USER
from tests.support.small_runs import QUICKSTART


@pytest.mark.parametrize("command", ["validate", "train", "launch", "preprocess", "show"])
def test_a_duplicate_override_is_rejected_with_both_values(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train.steps=5", "seed=3", "train.steps=6"]
    assert main([command, str(QUICKSTART / "roberta-tiny.yaml"), *words]) == EXIT_USER
    assert capsys.readouterr().err == (
        'ptm: train.steps is given twice: "train.steps=5" and "train.steps=6". '
        "Remove one of them.\n"
    )
