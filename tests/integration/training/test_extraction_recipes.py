"""Recipes of question answering read their tasks as distributed, train a step and answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ptm.errors import EXIT_DONE
from ptm.store.reader import TokenStore
from tests.support.classifiers import run_command
from tests.support.covers import by_default
from tests.support.finetuning_rows import write_rows
from tests.support.small_runs import PROJECT, vocab

RECIPES = sorted((PROJECT / "recipes" / "finetune" / "extraction").glob("*.yaml"))
DEFAULT = [path for path in RECIPES if path.stem == "squad2"]
SMALL = (
    *(f"tokenizer.vocab={vocab()}", "tokenizer.size=null", "init_from=null"),
    *("model.encoder.layers=1", "model.encoder.hidden_size=32", "model.encoder.heads=2"),
    *("model.encoder.feed_forward_size=64", "engine={deepspeed: zero0}", "data.workers=1"),
    *("train.steps=1", "train.epochs=null", "schedule.warmup=0", "train.global_batch_size=2"),
    "train.micro_batch_size=2",
)
ANSWERS = {"squad1": "a bird", "squad2": "a bird", "drcd": "書"}
"""The answer of the first question; that of the others is 这本书."""


def stem(path: Path) -> str:
    return path.stem


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("questions")
    write_rows(made)
    return made


def prepared(
    recipe: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    """Preprocess the task of a recipe; returns the folders of its stores."""
    monkeypatch.chdir(folder)
    code, lines, errors = run_command(["preprocess", str(recipe), *SMALL], capsys)
    assert code == EXIT_DONE, errors
    return sorted({line.partition(":")[0] for line in lines if line.startswith("stores/")})


@pytest.mark.parametrize("recipe", RECIPES, ids=stem)
def test_the_task_is_read_as_it_is_distributed(
    recipe: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stores = prepared(recipe, folder, monkeypatch, capsys)
    assert len(stores) == (2 if recipe.stem.startswith("squad") else 3)
    for path in stores:
        store = TokenStore.open(Path(path))
        assert store.info.report["questions"] == 1 + (recipe.stem == "squad2")
        assert store.info.report["answers_moved"] == 0
        (record,) = store.records()
        starts, lengths, _ = store.sentence_ranges
        begins, ends = store.token_characters(starts[:1], lengths[:1])
        first, last = store.answer_spans[1]
        text = record.context[begins[first] : ends[last]]
        assert text == ANSWERS.get(recipe.stem, "这本书")


@pytest.mark.parametrize("recipe", [by_default(path, DEFAULT) for path in RECIPES], ids=stem)
def test_the_recipe_trains_a_step_and_answers(
    recipe: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared(recipe, folder, monkeypatch, capsys)
    name = f"name={recipe.stem}"
    code, _, errors = run_command(["train", str(recipe), *SMALL, name, "--fresh"], capsys)
    assert code == EXIT_DONE, errors
    run = folder / "runs" / recipe.stem
    assert (run / "checkpoints" / "best").read_text().strip() == "global_step1"
    files = {"squad1": "SQuAD/dev-v1.1.json", "squad2": "SQuAD/dev-v2.0.json"}
    dev = files.get(recipe.stem, "DRCD/DRCD_dev.json" if recipe.stem == "drcd" else "cmrc2018")
    words = ["predict", str(run), f"corpora/{dev}", "--format", "squad"]
    code, lines, errors = run_command(words, capsys)
    assert code == EXIT_DONE, errors
    assert len(json.loads("\n".join(lines))) == 1 + (recipe.stem == "squad2")
    assert "with gold answers" in errors
