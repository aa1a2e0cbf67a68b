"""A small valid recipe, and fixtures that load it with changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ptm.errors import UserError
from ptm.recipe import Recipe, load_recipe

RECIPE = """\
name: tiny
seed: 7
tokenizer: {type: wordpiece, vocab: vocab.txt, size: 4500}
data:
  corpus: corpus/*.txt
  layout: documents
  store: stores/tiny
  sequence_length: 128
model:
  dropout: 0.1
  encoder:
    type: transformer
    layers: 2
    hidden_size: 16
    heads: 2
    feed_forward_size: 32
objective:
  type: mlm
  masking:
    unit: token
    rate: 0.15
optimizer: {type: adamw, learning_rate: 1e-4}
schedule: {type: linear, warmup: 0.1}
train:
  steps: 100
  global_batch_size: 8
  micro_batch_size: 8
"""


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Recipe]:
    """Load the recipe, or another `text`, with overrides."""

    def from_text(*overrides: str, text: str = RECIPE) -> Recipe:
        path = tmp_path / "recipe.yaml"
        path.write_text(text, encoding="utf-8")
        return load_recipe(str(path), overrides)

    return from_text


@pytest.fixture
def changed() -> Callable[[str, str], str]:
    """The text of the recipe with `old`, which must occur once, replaced by `new`."""

    def replace(old: str, new: str) -> str:
        assert RECIPE.count(old) == 1, f"{old!r} occurs {RECIPE.count(old)} times in the recipe"
        return RECIPE.replace(old, new)

    return replace


@pytest.fixture
def error_of(load: Callable[..., Recipe]) -> Callable[..., str]:
    """The message of the UserError that an invalid recipe raises."""

    def sentence(*overrides: str, **text: str) -> str:
        with pytest.raises(UserError) as caught:
            load(*overrides, **text)
        return str(caught.value)

    return sentence
