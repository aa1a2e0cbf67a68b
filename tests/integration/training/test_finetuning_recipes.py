"""Recipes of fine-tuning read their tasks as distributed, and train a step."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ptm.cli import main
from ptm.errors import EXIT_DONE
from ptm.store.reader import TokenStore
from ptm.text.labels import LabelSet, numbers_of
from ptm.text.tokenizers.wordpiece import WordPiece
from tests.support.classifiers import run_command
from tests.support.covers import by_default
from tests.support.finetuning_rows import CHINESE, TEXTS, write_rows
from tests.support.small_runs import PROJECT, vocab

RECIPES = sorted(
    recipe
    for kind in ("classification", "regression")
    for recipe in (PROJECT / "recipes" / "finetune" / kind).glob("*.yaml")
)
EMBEDDING = sorted((PROJECT / "recipes" / "finetune" / "embedding").glob("*.yaml"))
TEXTS_OF = {"nli": 2, "retrieval": 3, "retrieval-tiny": 2, "simcse": 1, "stsb": 2}
"""Recipe of embeddings -> texts per line of its corpus."""
DEFAULT = {"cola", "ocnli", "stsb"}
OF_CHINESE = {"chnsenticorp", "book_review", "lcqmc", "tnews", "afqmc", "ocnli"}
LABELS = {
    "tnews": ("100", "101"),
    "stsb": ("5", "0.25"),
    **dict.fromkeys(("mnli", "ocnli"), ("neutral", "entailment")),
    **dict.fromkeys(("qnli", "rte"), ("entailment", "not_entailment")),
}
"""The labels of the first two examples; of other tasks 0 and 1."""
FOLDERS = {
    **{name: name for name in OF_CHINESE},
    "cola": "CoLA",
    "sst2": "SST-2",
    "stsb": "STS-B",
    **{name: name.upper() for name in ("mrpc", "qqp", "mnli", "qnli", "rte", "wnli")},
}
SMALL = (
    *(f"tokenizer.vocab={vocab()}", "tokenizer.size=null", "init_from=null"),
    *("model.encoder.layers=1", "model.encoder.hidden_size=32", "model.encoder.heads=2"),
    *("model.encoder.feed_forward_size=64", "engine={deepspeed: zero0}", "data.workers=1"),
    *("train.steps=1", "train.epochs=null", "schedule.warmup=0"),
)


def stem(path: Path) -> str:
    return path.stem


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tasks")
    write_rows(made)
    return made


def examples_of(store: TokenStore) -> list[tuple[str, list[list[int]]]]:
    """The label of each example of a store and the tokens of its texts."""
    labels = LabelSet(tuple(store.info.labels or ()))
    numbers = numbers_of(store.labels)
    starts, lengths, counts = store.sentence_ranges
    texts = [
        store.tokens(np.array([start]), np.array([length])).tolist()
        for start, length in zip(starts, lengths, strict=True)
    ]
    found = []
    for at, label in enumerate(store.labels):
        per = int(counts[at])
        name = f"{numbers[at]:g}" if labels.names == ("number",) else labels.names[label]
        found.append((name, texts[per * at : per * (at + 1)]))
    return found


@pytest.mark.parametrize("recipe", RECIPES, ids=stem)
def test_the_task_is_read_as_it_is_distributed(
    recipe: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    code, lines, errors = run_command(["preprocess", str(recipe), *SMALL], capsys)
    assert code == EXIT_DONE, errors
    stores = sorted({line.partition(":")[0] for line in lines if line.startswith("stores/")})
    assert any(store.endswith("/train") for store in stores)
    assert len(stores) >= 2
    encode = WordPiece(type="wordpiece", vocab=str(vocab())).load().encode
    for path in stores:
        store = TokenStore.open(Path(path))
        assert store.info.report["invalid_lines"] == 0
        (first, _), (second, texts), *_ = examples_of(store)
        sentences = CHINESE if recipe.stem in OF_CHINESE else TEXTS
        # The first text of an example is that of its row; the second one is that of the row before.
        assert texts == encode([sentences[1], sentences[0]])[: len(texts)]
        assert (first, second) == LABELS.get(recipe.stem, ("0", "1"))
    if recipe.stem == "ocnli":
        assert TokenStore.open(Path(stores[0])).info.report["ignored_labels"] == 1


@pytest.mark.parametrize(
    "recipe",
    [by_default(path, [p for p in RECIPES if p.stem in DEFAULT]) for path in RECIPES],
    ids=stem,
)
def test_the_recipe_trains_a_step_and_chooses_a_checkpoint(
    recipe: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert main(["preprocess", str(recipe), *SMALL]) == EXIT_DONE
    assert main(["train", str(recipe), *SMALL, "--fresh"]) == EXIT_DONE
    run = folder / "runs" / f"finetune-{recipe.stem}"
    assert (run / "checkpoints" / "best").read_text().strip() == "global_step1"
    dev = next(iter(sorted((folder / "corpora" / FOLDERS[recipe.stem]).glob("dev*"))))
    words = ["predict", str(run), str(dev), "--format", "json_lines"]
    code, lines, errors = run_command(words, capsys)
    assert code == EXIT_DONE
    assert all("label" in json.loads(line) for line in lines)
    assert "on 3 labels" in errors or "on 4 labels" in errors or "on 15 labels" in errors


@pytest.mark.parametrize(
    "recipe",
    [by_default(path, [p for p in EMBEDDING if p.stem == "retrieval"]) for path in EMBEDDING],
    ids=stem,
)
def test_a_recipe_of_embeddings_trains_a_step(
    recipe: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    small: tuple[str, ...] = (*SMALL, "train.global_batch_size=4", "train.micro_batch_size=2")
    if recipe.stem in ("retrieval", "simcse"):
        small = (*small, "data.held_out=0.2")
    if "retrieval" in recipe.stem:
        small = (*small, "objective.matryoshka=[16]")
    code, lines, errors = run_command(["preprocess", str(recipe), *small, "--fresh"], capsys)
    assert code == EXIT_DONE, errors
    (path, *_) = [line.partition(":")[0] for line in lines if line.startswith("stores/")]
    _, _, texts = TokenStore.open(Path(path)).sentence_ranges
    assert set(texts.tolist()) == {TEXTS_OF[recipe.stem]}
    assert main(["train", str(recipe), *small, "--fresh"]) == EXIT_DONE
    run = folder / "runs" / f"embedding-{recipe.stem}"
    assert (run / "checkpoints" / "best").read_text().strip() == "global_step1"
    code, lines, _ = run_command(["embed", str(run), "a bird", "a book"], capsys)
    assert (code, "cosine to the first" in lines[-1]) == (EXIT_DONE, True)
