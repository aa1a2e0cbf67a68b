"""The recipes of recurrent and convolutional models have the numbers of parameters by formula."""

from __future__ import annotations

import pytest
from torch import nn

from tests.unit.model.counting import counted, recipe_of, size_of

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


@pytest.mark.parametrize(("size", "embedded", "width"), [("tiny", 128, 256), ("base", 512, 1536)])
def test_elmo_recipes(size: str, embedded: int, width: int) -> None:
    half = width // 2
    # Per direction and gate: a matrix of the input, one of the state, and two biases.
    first, second = (4 * (read * half + half**2 + 2 * half) for read in (embedded, half))
    recipe = recipe_of(f"elmo/{size}")
    embedding, output = WORDS * embedded, WORDS * half
    assert counted(recipe, WORDS) == embedding + 2 * (first + second) + output
    assert recipe.optimizer.learning_rate == 5e-4


def test_elmo_base_has_torchs_number_of_parameters() -> None:
    """Two stacks of torch.nn.LSTM on 512 inputs with 768 states, as in UER-py."""
    stack = size_of(nn.LSTM(512, 768, num_layers=2))
    assert counted(recipe_of("elmo/base"), WORDS) == WORDS * (512 + 768) + 2 * stack


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
