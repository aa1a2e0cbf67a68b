"""Objective `choice`: scores of packed questions are those of single ones, and of transformers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoTokenizer, BertForMultipleChoice

from ptm.cli import main
from ptm.data.choices import Choices
from ptm.data.documents import Documents
from ptm.loading.rows import TRAIN, open_rows
from ptm.model.build import build_plan
from ptm.model.initial_weights import initialise
from ptm.model.plain_model import PlainModel
from ptm.recipe import load_recipe
from ptm.recipe.model_recipe import DataRecipe
from tests.support.choice_texts import DEV, choosing, questions, write_stores
from tests.support.choice_texts import TRAIN as COUNT
from tests.support.small_runs import Runs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("choices")
    write_stores(made)
    return made


def recipe_of(runs: Runs, folder: Path, *more: str) -> DataRecipe:
    recipe, *overrides = runs.arguments("x", *choosing(folder), "model.dropout=0.0", *more)
    return load_recipe(recipe, overrides)


def scores(recipe: DataRecipe, *, size: int) -> dict[int, list[float]]:
    """The logits of the choices of each question of the training, by its index."""
    rows = open_rows(recipe, recipe.tokenizer.load(), split=TRAIN)
    plan = build_plan(recipe.model, rows.objective, vocabulary_size=rows.vocabularies.source.size)
    model = PlainModel(plan).eval()
    initialise(model, recipe.model, seed=recipe.seed)
    found: dict[int, list[float]] = {}
    for batch in rows.micro_batches(np.arange(len(rows)), size=size):
        tensors = {name: torch.from_numpy(array) for name, array in batch.tensors.items()}
        with torch.no_grad():
            logits = model(tensors)["choice_logits"][:, 0].tolist()
        for number, logit in zip(batch.tensors["example_numbers"].tolist(), logits, strict=True):
            found.setdefault(number - 1, []).append(logit)
    return found


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_packed_questions_have_the_scores_of_single_ones(
    runs: Runs, folder: Path, pooling: str
) -> None:
    options = f"objective={{type: choice, pooling: {pooling}}}"
    packed = scores(recipe_of(runs, folder, options, "data.packing=true"), size=2)
    single = scores(recipe_of(runs, folder, options, "data.packing=false"), size=3)
    assert packed.keys() == single.keys() == set(range(COUNT))
    some = questions(COUNT, first=0)
    for number, logits in single.items():
        assert len(logits) == len(some[number].choices)
        assert packed[number] == pytest.approx(logits, abs=1e-5)


def test_contexts_are_cut_and_the_tokens_are_counted(runs: Runs, folder: Path) -> None:
    whole = recipe_of(runs, folder, "data.sequence_length=512", "model.embedding.positions=512")
    short = recipe_of(runs, folder, "data.sequence_length=24")
    rows = [open_rows(one, one.tokenizer.load(), split=TRAIN) for one in (whole, short)]
    lengths = []
    for one in rows:
        documents = Documents(one.store)
        found = one.objective.index(documents, size=one.size, vocabularies=one.vocabularies, seed=0)
        assert isinstance(found, Choices)
        lengths.append(found)
    removed = int(lengths[0].lengths.sum() - lengths[1].lengths.sum())
    assert not rows[0].left_out
    assert rows[1].left_out.startswith(f"{removed:,} tokens cut off (choices too long with their")
    # The choices are whole: only contexts are cut.
    assert np.array_equal(lengths[0].part_lengths[:, 0], lengths[1].part_lengths[:, 0])
    assert int(lengths[1].part_lengths.sum(axis=1).max()) == 24 - 3


def test_an_export_has_the_scores_of_ptm(
    runs: Runs, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        runs.train("run", *choosing(folder), "train.steps=2", "optimizer.learning_rate=1e-2") == 0
    )
    assert main(["export", str(runs.folder / "run"), str(tmp_path / "hf"), "--to", "hf"]) == 0
    theirs, info = BertForMultipleChoice.from_pretrained(tmp_path / "hf", output_loading_info=True)
    assert {key: list(value) for key, value in info.items() if value} == {}
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "hf")
    words = ["predict", str(runs.folder / "run"), str(folder / "choice-dev.json")]
    capsys.readouterr()
    assert main([*words, "--probabilities"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split("\t") == ["prediction", "probability", "choice", "probabilities", "label"]
    for one, line in zip(questions(DEV, first=COUNT), lines, strict=True):
        pairs = [(f"{one.text} {choice}", "\n".join(one.lines)) for choice in one.choices]
        encoded = tokenizer(
            *map(list, zip(*pairs, strict=True)),
            padding=True,
            truncation="only_second",
            max_length=64,
            return_tensors="pt",
        )
        with torch.no_grad():
            logits: Tensor = theirs.eval()(**{k: v[None] for k, v in encoded.items()}).logits[0]
        expected = torch.softmax(logits, dim=0).tolist()
        cells = line.split("\t")
        assert [float(cell) for cell in cells[3].split(",")] == pytest.approx(expected, abs=2e-6)
        assert (cells[0], cells[2]) == (str(int(logits.argmax())), one.choices[int(cells[0])])
        assert cells[4] == str(one.answer)
