"""The family of a recipe comes from the folder of its file."""

from __future__ import annotations

import pytest

from ptm.recipe.origin import RecipeOrigin


@pytest.mark.parametrize(
    ("file", "family"),
    [
        ("recipes/roberta/tiny.yaml", "roberta"),
        ("/home/me/recipes/finetune/classification/tnews.yaml", "finetune/classification"),
        ("/data/recipes/old/recipes/gpt2/base.yaml", "gpt2"),
        ("recipes/mine.yaml", None),
        ("experiments/mine.yaml", None),
        ("mine.yaml", None),
        (None, None),
    ],
)
def test_the_family(file: str | None, family: str | None) -> None:
    assert RecipeOrigin(file).family == family
