"""The recipe as dotted keys and texts, for trackers without nested parameters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ptm.recipe import Recipe, with_shown_urls


def flat_recipe(recipe: Recipe) -> dict[str, str]:
    """`optimizer.learning_rate` -> `0.0001`. Lists are JSON; passwords of URLs are hidden."""
    return dict(_leaves("", with_shown_urls(recipe.model_dump(mode="json"))))


def _leaves(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _leaves(f"{key}.{name}" if key else name, one)
    else:
        yield key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
