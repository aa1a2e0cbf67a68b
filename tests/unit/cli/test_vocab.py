"""`ptm vocab train` says why a vocabulary is smaller than `--size`."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptm.cli import main
from ptm.errors import EXIT_DONE


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "the corpus does not yield more with --min-count 2; a smaller one may"),
        (["--min-count", "1"], "the corpus does not yield more"),
    ],
)
def test_a_small_vocabulary_names_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], reason: str
) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("one two two three three three\n", encoding="utf-8")
    arguments = [str(corpus), "--out", str(tmp_path / "vocab"), "--size", "4000", "--type", "space"]
    assert main(["vocab", "train", *arguments, *words]) == EXIT_DONE
    assert f"# fewer tokens than --size 4000: {reason}\n" in capsys.readouterr().out
