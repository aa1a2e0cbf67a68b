"""Drawn models are equal in transformers, or rejected with an option or tensor that is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.integration.parity.drawn_models import (
    EQUAL,
    Outcome,
    exports,
    imports,
    main,
    small_texts,
    table,
)

NAMED = r"(model|objective)\.\w+|config\.json: \w+|the encoder is not|is not an encoder-decoder"
"""How an error names the option of the recipe or the key of the config."""


def check(outcomes: list[Outcome]) -> None:
    report = table(outcomes)
    assert not [one for one in outcomes if one.differs], report
    rejected = [one for one in outcomes if one.rejected]
    assert all(re.search(NAMED, one.reason) for one in rejected), report
    assert sum(one.reason == EQUAL for one in outcomes) > len(outcomes) / 3, report


@pytest.mark.parametrize(
    ("seed", "count"), [(3, 35), pytest.param(5, 2000, marks=pytest.mark.slow)]
)
def test_drawn_exports_are_equal_or_rejected_by_name(tmp_path: Path, seed: int, count: int) -> None:
    vocab, texts = small_texts(tmp_path)
    check(list(exports(seed, count, vocab=vocab, texts=texts, folder=tmp_path / "models")))


@pytest.mark.parametrize(("seed", "count"), [(3, 15), pytest.param(5, 300, marks=pytest.mark.slow)])
def test_drawn_imports_are_equal_or_rejected_by_name(tmp_path: Path, seed: int, count: int) -> None:
    vocab, texts = small_texts(tmp_path)
    check(list(imports(seed, count, vocab=vocab, texts=texts, folder=tmp_path / "models")))


def test_the_same_seed_draws_the_same_models(tmp_path: Path) -> None:
    drawn = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        vocab, texts = small_texts(folder)
        found = exports(4, 3, vocab=vocab, texts=texts, folder=folder / "models")
        drawn.append([one.draw for one in found])
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) > 1


def test_the_script_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "6", "--exports", "2", "--imports", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2 exports"
    assert "1 imports" in lines
    assert any(line.split() == ["1", EQUAL] for line in lines)
