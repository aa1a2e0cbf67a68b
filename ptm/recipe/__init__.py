"""The recipe: its blocks, reading and validation, and the rules between blocks."""

from ptm.recipe.batch import BatchPlan, batch_plan
from ptm.recipe.blocks import Recipe
from ptm.recipe.file import load_recipe, recipe_from_data, recipe_yaml, with_shown_urls
from ptm.recipe.model_recipe import DataRecipe, ModelRecipe

__all__ = [
    "BatchPlan",
    "DataRecipe",
    "ModelRecipe",
    "Recipe",
    "batch_plan",
    "load_recipe",
    "recipe_from_data",
    "recipe_yaml",
    "with_shown_urls",
]
