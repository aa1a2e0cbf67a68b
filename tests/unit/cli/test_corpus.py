"""`ptm corpus` of stores and recipes: what it prints, as JSON and as a page, and wrong inputs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_USER
from ptm.store.reader import TokenStore
from tests.support.mixtures import LINES, mixed, write_mixture
from tests.support.small_runs import QUICKSTART, small_overrides

RECIPE = str(QUICKSTART / "roberta-tiny.yaml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mixture of two sources with an evaluation set, preprocessed."""
    folder = tmp_path_factory.mktemp("corpus")
    write_mixture(folder)
    (folder / "empty").mkdir()
    lines = (folder / "english.txt").read_text(encoding="utf-8").splitlines()[:30]
    (folder / "news.txt").write_text("\n".join(lines) + "\nཀ\n", encoding="utf-8")
    assert main(["preprocess", RECIPE, *overrides(folder)]) == EXIT_DONE
    return folder


def overrides(folder: Path) -> list[str]:
    news = f"data.evaluation={{news: {{corpus: {folder}/news.txt, store: {folder}/news}}}}"
    return small_overrides(folder / "stores", folder, "mixture", *mixed(folder, news))


def report(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["corpus", *words, "--json"]) == EXIT_DONE
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_store_is_reported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = TokenStore.open(folder / "stores" / "english")
    (found,) = report(capsys, str(store.folder))["stores"]
    lengths = store.document_ranges[1]
    assert (found["documents"], found["tokens"]) == (lengths.size, lengths.sum())
    assert found["sentences"] == store.sentence_ranges[1].size
    assert found["lengths"]["quantiles"]["0.5"] == np.quantile(lengths, 0.5, method="inverted_cdf")
    assert sum(one["documents"] for one in found["lengths"]["histogram"]) == lengths.size
    assert found["unknown_strings"] is None
    assert found["examples"] == []


def test_the_folder_of_a_mixture_has_a_report_on_every_store(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = report(capsys, str(folder / "stores"))["stores"]
    assert {Path(one["name"]).name: one["documents"] for one in found} == LINES


def test_every_store_of_a_recipe_is_reported_with_its_examples(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = report(capsys, RECIPE, *overrides(folder))
    stores = {one["name"]: one for one in found["stores"]}
    assert list(stores) == ["data.corpus.english", "data.corpus.chinese", "data.evaluation.news"]
    splits = {name: [one["split"] for one in store["examples"]] for name, store in stores.items()}
    assert splits["data.corpus.chinese"] == ["train", "eval"]
    assert splits["data.evaluation.news"] == ["news"]
    main(["show", RECIPE, *overrides(folder)])
    shown = capsys.readouterr().out
    assert f"epochs of {found['rows_per_epoch']:,} rows" in shown
    for store in list(stores.values())[:2]:
        train = store["examples"][0]
        assert f"({train['examples']:,} examples, {train['tokens']:,} tokens" in shown
    _, legend, first, *_ = stores["data.corpus.english"]["sample"]
    assert legend == "x<y>: the model reads x and predicts y"
    assert first.startswith("row 0, example 1: [CLS] ")


def test_the_strings_of_unknown_tokens_are_found_in_the_corpus(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stores = report(capsys, RECIPE, *overrides(folder))["stores"]
    news = stores[-1]
    assert news["unknown_tokens"] == 1
    assert news["unknown_strings"]["most_frequent"] == [["ཀ", 1]]
    assert news["unknown_strings"]["text_bytes"] == news["text_bytes"]


def test_without_its_corpus_a_recipe_is_reported_all_the_same(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "news.txt").unlink()
    words = [word.replace(str(folder), str(tmp_path / "copy")) for word in overrides(folder)]
    capsys.readouterr()
    assert main(["corpus", RECIPE, *words]) == EXIT_DONE
    assert "strings that became the unknown token: data.evaluation.news.corpus: " in (
        capsys.readouterr().out
    )


def test_the_text_has_the_numbers_of_the_json(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = str(folder / "stores" / "chinese")
    (found,) = report(capsys, store)["stores"]
    assert main(["corpus", store]) == EXIT_DONE
    printed = capsys.readouterr().out
    assert f"{found['bytes_per_token']:.2f} bytes of text per token" in printed
    assert f"{found['tokens_used']:,} of {found['vocabulary_size']:,} tokens occur" in printed
    for fill in found["row_lengths"]:
        assert f"{100 * fill['packed_fill']:.2f} %" in printed


def test_the_page_is_written_and_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    assert main(["corpus", RECIPE, *overrides(folder), "--html", str(page)]) == EXIT_DONE
    assert capsys.readouterr().out.splitlines()[-1] == str(page)
    text = page.read_text(encoding="utf-8")
    assert "data.corpus.chinese" in text
    assert "row 0, example 1" in text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["{folder}/nothing"], "does not exist. Give a token store or a recipe."),
        (["{folder}/empty"], "the folder has no store.json, so it is not a token store"),
        (["{folder}/english.txt"], "english.txt"),
        (["{folder}/news", "seed=1"], "seed=1: a store has no keys"),
        (["{folder}/news", "--html", "{folder}"], "is a folder. Give the path of a file."),
        (["{folder}/news", "--html", "{folder}/no/page.html"], "is missing. Give the path"),
        ([RECIPE, "data.store={folder}/nothing"], "Create the store with `ptm preprocess RECIPE`"),
    ],
)
def test_wrong_inputs_are_an_error_with_a_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert main(["corpus", *(word.format(folder=folder) for word in words)]) == EXIT_USER
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error
