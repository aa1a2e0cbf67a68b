"""The share of unknown tokens is counted, and warned of when it is large."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from ptm.cli import main
from tests.support.small_runs import QUICKSTART, vocab


@pytest.fixture(autouse=True)
def _messages_reach_caplog(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    logger = logging.getLogger("ptm")
    logger.addHandler(caplog.handler)
    yield
    logger.removeHandler(caplog.handler)


def preprocessed(folder: Path, text: str) -> tuple[int, int]:
    """Preprocess a corpus; returns its numbers of tokens and of unknown tokens."""
    (folder / "corpus.txt").write_text(text, encoding="utf-8")
    recipe = str(QUICKSTART / "roberta-tiny.yaml")
    overrides = (f"data.corpus={folder}/corpus.txt", f"data.store={folder}/store")
    assert main(["preprocess", recipe, *overrides, f"tokenizer.vocab={vocab()}"]) == 0
    info = json.loads((folder / "store" / "store.json").read_text(encoding="utf-8"))
    return sum(s["tokens"] for s in info["shards"]), info["report"]["unknown_tokens"]


def test_a_corpus_in_another_script_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokens, unknown = preprocessed(tmp_path, "བོད་ཡིག\nབོད་ཡིག\n")
    assert 0 < unknown <= tokens
    printed = caplog.text
    assert f"{tmp_path}/store: {100 * unknown / tokens:.1f} % of the tokens" in printed
    assert str(vocab()) in printed


def test_the_warning_begins_above_one_percent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    known = (QUICKSTART / "corpus").glob("*.txt")
    text = next(known).read_text(encoding="utf-8")
    assert preprocessed(tmp_path, f"{text}\nབ\n")[1] > 0
    assert "are unknown" not in caplog.text
