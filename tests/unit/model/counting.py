"""Parameter counts of this project's recipes and of transformers' models."""

from __future__ import annotations

from torch import nn

from ptm.model.build import build_plan
from ptm.model.plain_model import parameter_count
from ptm.recipe import Recipe, load_recipe
from tests.support.small_runs import PROJECT


def recipe_of(name: str) -> Recipe:
    """The recipe `family/size` of this project."""
    return load_recipe(str(PROJECT / "recipes" / f"{name}.yaml"))


def counted(recipe: Recipe, words: int) -> int:
    """The number of parameters of the recipe's model with a vocabulary of `words` tokens."""
    return parameter_count(build_plan(recipe.model, recipe.objective, vocabulary_size=words))


def size_of(model: nn.Module) -> int:
    """The number of trainable parameters of a model of transformers."""
    return sum(one.numel() for one in model.parameters() if one.requires_grad)
