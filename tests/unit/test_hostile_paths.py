"""Paths that cannot exist, and values that only look like numbers, end with one sentence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ptm.cli import main
from ptm.errors import EXIT_USER
from ptm.rank_environment import check_rank_environment
from tests.support.small_runs import QUICKSTART

RECIPE = str(QUICKSTART / "roberta-tiny.yaml")


@pytest.mark.parametrize(
    "override",
    [
        f"data.store={'x' * 5000}",
        f"tokenizer.vocab={'x' * 300}",
        f"init_from={'x' * 300}",
        "data.store=/etc/passwd/x",
        "data.store=loop/x",
    ],
)
def test_a_path_that_cannot_exist_is_one_sentence(
    override: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    assert main(["validate", RECIPE, override]) == EXIT_USER
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_list_as_a_key_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipe.yaml").write_text("name: x\n? [a, b]\n: 1\n", encoding="utf-8")
    assert main(["validate", str(tmp_path / "recipe.yaml")]) == EXIT_USER
    assert capsys.readouterr().err == (
        f"ptm: {tmp_path}/recipe.yaml:2: a key is not a plain word.\n"
    )


def test_empty_variables_of_a_launcher_are_those_of_no_launcher(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "")
    check_rank_environment()

    assert "WORLD_SIZE" not in os.environ
