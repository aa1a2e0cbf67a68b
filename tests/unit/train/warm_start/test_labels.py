"""`init_from` a model that predicts labels: its output layer, for the same labels and others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ptm.recipe import ModelRecipe, recipe_from_data
from ptm.train.warm_start.load import WarmStart, load_warm_start
from tests.support.bert_pairs import Size, blocks_of, plan_of, random_weights, write_model

OUTPUT = {"classifier.weight", "classifier.bias"}
LABELS = {"type": "classification", "labels": ["bad", "good"]}


def recipe_with(vocab: Path, objective: dict[str, Any]) -> tuple[dict[str, Any], ModelRecipe]:
    blocks = {**blocks_of(vocab, Size(1, 32, 2)), "objective": objective}
    return blocks, recipe_from_data(blocks, ModelRecipe, name="labels")


def start(folder: Path, vocab: Path, theirs: dict[str, Any], ours: dict[str, Any]) -> WarmStart:
    """A start of a recipe with the objective `ours` from a model with `theirs`."""
    blocks, source = recipe_with(vocab, theirs)
    write_model(folder / "source", blocks, random_weights(plan_of(source)))
    _, recipe = recipe_with(vocab, ours)
    return load_warm_start(
        str(folder / "source"),
        plan_of(recipe),
        recipe.tokenizer.load(),
        recipe.model,
        objective=recipe.objective,
    )


@pytest.mark.parametrize(
    "ours",
    [
        LABELS,
        {"type": "classification", "labels": 2},
        {**LABELS, "class_weights": [1.0, 2.0]},
    ],
    ids=["equal", "numbered", "weighted"],
)
def test_the_output_layer_is_loaded_for_the_same_labels(
    tmp_path: Path, small_vocab: Path, ours: dict[str, Any]
) -> None:
    found = start(tmp_path, small_vocab, LABELS, ours)
    assert found.weights.keys() >= OUTPUT
    assert "the output layer is new" not in str(found)


@pytest.mark.parametrize(
    ("ours", "labels"),
    [
        ({"type": "classification", "labels": ["a", "b", "c"]}, "[a, b, c]"),
        ({"type": "classification", "labels": ["good", "bad"]}, "[good, bad]"),
        ({"type": "regression"}, "any number"),
    ],
    ids=["more", "another order", "numbers"],
)
def test_the_output_layer_is_new_for_other_labels(
    tmp_path: Path, small_vocab: Path, ours: dict[str, Any], labels: str
) -> None:
    found = start(tmp_path, small_vocab, LABELS, ours)
    assert set(found.new_names) == set(found.unused_names) == OUTPUT
    assert "pooler.dense.weight" in found.weights
    assert "the source has the labels [bad, good] (objective classification) and this r" in str(
        found
    )
    assert str(found).endswith(labels)
