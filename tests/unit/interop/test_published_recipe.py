"""The recipe of an export: what differs from the defaults, without paths of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ptm.interop.published_recipe import differences_yaml, exported_yaml, last_part, machine_paths
from ptm.recipe import Recipe, load_recipe, recipe_yaml
from tests.support.small_runs import QUICKSTART

SECRET = "/home/somebody/secret"
OVERRIDES = (
    f"runs_dir={SECRET}/runs",
    f"init_from={{source: {SECRET}/start, layers: [0]}}",
    f"tokenizer.vocab={SECRET}/vocab.txt",
    f"data.corpus={{one: {{files: [{SECRET}/a.txt], weight: 1, store: {SECRET}/one}}}}",
    f"data.evaluation={{news: {{corpus: {SECRET}/news.txt, store: {SECRET}/news}}}}",
    f"data.store={SECRET}/stores",
    f"data.segmenter={{type: jieba, dictionary: {SECRET}/words.txt}}",
    f"objective.masking={{unit: phrase, lexicon: {SECRET}/phrases.txt}}",
    f"engine.deepspeed={SECRET}/ds.json",
)


@pytest.fixture
def recipe() -> Recipe:
    return load_recipe(str(QUICKSTART / "roberta-tiny.yaml"), OVERRIDES)


def test_a_card_has_names_of_files_and_no_defaults(recipe: Recipe) -> None:
    text = differences_yaml(recipe)
    assert SECRET not in text
    assert "null" not in text
    assert len(text.splitlines()) < len(recipe_yaml(recipe).splitlines()) / 2
    data = yaml.safe_load(text)
    assert data["tokenizer"]["vocab"] == "vocab.txt"
    assert data["data"]["corpus"]["one"] == {"files": ["a.txt"], "weight": 1, "store": "one"}
    assert data["data"]["evaluation"]["news"] == {"corpus": "news.txt", "store": "news"}
    assert data["init_from"] == {"source": "start", "layers": [0]}
    assert data["objective"]["masking"]["lexicon"] == "phrases.txt"
    assert data["model"]["encoder"]["type"] == "transformer"
    assert not {"runs_dir", "tracking", "checkpoint"} & set(data)


def test_an_exported_recipe_keeps_the_paths_of_data_and_they_are_named(recipe: Recipe) -> None:
    text = exported_yaml(recipe)
    data = yaml.safe_load(text)
    assert data["data"]["store"] == f"{SECRET}/stores"
    named = machine_paths(recipe)
    assert text.count(SECRET) == len(named) == 7
    assert "data.evaluation.news.corpus" in named
    assert "objective.masking.lexicon" in named


def test_relative_paths_of_data_are_not_named() -> None:
    recipe = load_recipe(str(QUICKSTART / "roberta-tiny.yaml"))
    assert machine_paths(recipe) == []


def test_urls_and_ids_of_the_hub_stay_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert last_part("https://example.com/a.txt") == "https://example.com/a.txt"
    assert last_part("google/bert", is_model=True) == "google/bert"
    assert last_part("runs/bert", is_model=True) == "bert"
