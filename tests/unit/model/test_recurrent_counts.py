"""The recipes of recurrent and convolutional models have the numbers of parameters by formula."""

from __future__ import annotations

import pytest

from tests.unit.model.counting import counted, recipe_of

WORDS = 21_128
GATES = {"rnn": 1, "lstm": 4, "gru": 3}


@pytest.mark.parametrize("size", ["tiny", "base"])
@pytest.mark.parametrize("family", GATES)
def test_recurrent_recipes(family: str, size: str) -> None:
    width = {"tiny": 128, "base": 512}[size]
    # Per gate: a matrix of the input, one of the state, and two biases.
    layer = GATES[family] * (2 * width**2 + 2 * width)
    recipe = recipe_of(f"{family}/{size}")
    assert counted(recipe, WORDS) == 2 * WORDS * width + 2 * layer
    assert recipe.optimizer.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("size", "layers", "embedded", "width"),
    [("tiny", 5, 64, 128), ("9", 9, 128, 807), ("13", 13, 128, 1268)],
)
def test_convolutional_recipes(size: str, layers: int, embedded: int, width: int) -> None:
    # A and B have a matrix per step of the kernel of 4, and a bias.
    first = 2 * (4 * embedded * width + width)
    others = (layers - 1) * 2 * (4 * width**2 + width)
    recipe = recipe_of(f"gated-cnn/{size}")
    assert counted(recipe, WORDS) == WORDS * embedded + first + others + WORDS * width
    assert recipe.optimizer.learning_rate == 1e-4
