"""`ptm preprocess` prints the first numbers of a store, and warns if one of them is suspicious."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from ptm.cli import main
from ptm.data.two_sides import share_budget
from ptm.recipe import Recipe, load_recipe
from ptm.runs.corpus.findings import cut_tokens
from ptm.store.reader import TokenStore
from tests.support.labelled_texts import classifying, write_corpora
from tests.support.small_runs import QUICKSTART, small_overrides

RECIPE = str(QUICKSTART / "roberta-tiny.yaml")


@pytest.fixture(autouse=True)
def _messages_reach_caplog(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    logger = logging.getLogger("ptm")
    logger.addHandler(caplog.handler)
    yield
    logger.removeHandler(caplog.handler)


def preprocess(folder: Path, text: str, *overrides: str) -> None:
    """Preprocess `text` to `folder`/store."""
    (folder / "corpus.txt").write_text(text, encoding="utf-8")
    corpus = f"data.corpus={folder}/corpus.txt"
    words = small_overrides(folder / "store", folder, "small", corpus, *overrides)
    assert main(["preprocess", RECIPE, *words]) == 0


def test_the_first_numbers_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    preprocess(tmp_path, "the house\nthe house is old\n")
    store = TokenStore.open(tmp_path / "store")
    lengths = store.document_ranges[1].tolist()
    printed = capsys.readouterr().out
    assert f"{25 / sum(lengths):.2f} bytes of text per token, 0.00 % unknown tokens (0)" in printed
    assert f"tokens per document: {lengths[0]} to {lengths[1]}" in printed


def test_a_good_corpus_gives_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    preprocess(tmp_path, "the house\nthe house is old\n" * 50)
    assert caplog.records == []


def test_text_that_is_all_unknown_has_nothing_to_mask(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    preprocess(tmp_path, "ཀ\nཁ\n")
    assert "100.0 % of the tokens are unknown, so there is nothing to mask" in caplog.text


@pytest.mark.parametrize(
    ("layout", "advice"),
    [("documents", "check that the file has line ends"), ("sentences", "data.layout: documents")],
)
def test_a_single_document_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, layout: str, advice: str
) -> None:
    preprocess(tmp_path, "the house is old\n", f"data.layout={layout}")
    assert "the corpus is one document of " in caplog.text
    assert advice in caplog.text


def labelled(folder: Path, *overrides: str) -> Recipe:
    """Preprocess labelled texts; return their recipe."""
    words = small_overrides(folder / "train", folder, "small", *classifying(folder), *overrides)
    assert main(["preprocess", RECIPE, *words]) == 0
    return load_recipe(RECIPE, words)


@pytest.mark.parametrize(("length", "warned"), [(16, True), (512, False)])
def test_labelled_texts_that_are_cut_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, length: int, warned: bool
) -> None:
    write_corpora(tmp_path)
    recipe = labelled(tmp_path, f"data.sequence_length={length}")
    store = TokenStore.open(tmp_path / "train")
    # [CLS] and [SEP] are in the row too.
    cut = sum(max(0, n - (length - 2)) for n in store.document_ranges[1].tolist())
    assert cut_tokens(recipe, store) == cut
    share = f"{tmp_path}/train: {100 * cut / store.info.tokens:.1f} % of the tokens are cut off"
    assert (share in caplog.text) == warned
    assert (f"data.sequence_length = {length} allows" in caplog.text) == warned


def test_of_pairs_of_texts_both_parts_count(tmp_path: Path) -> None:
    write_corpora(tmp_path, texts=2)
    recipe = labelled(tmp_path, "data.sequence_length=24")
    store = TokenStore.open(tmp_path / "train")
    lengths = store.sentence_ranges[1].reshape(-1, 2)
    kept = share_budget(lengths, 24 - 3)
    assert cut_tokens(recipe, store) == (lengths - kept).sum() > 0


def test_an_objective_that_continues_long_documents_cuts_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    line = "the house is old and the garden is large\n"
    preprocess(tmp_path, line * 20, "data.sequence_length=8")
    assert "cut off" not in caplog.text
