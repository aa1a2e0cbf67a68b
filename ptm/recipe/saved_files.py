"""The files that runs, exports and imports have in common, read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from ptm.errors import UserError
from ptm.text.tokenizers.files import block_with_copies

TOKENIZER, TARGET_TOKENIZER = "tokenizer", "target_tokenizer"
"""The folders of a run (or an import) that hold copies of its tokenizers' files."""
WEIGHTS, RECIPE = "weights.safetensors", "recipe.yaml"


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The reports of a run; a line that a kill tore is left out."""
    path = run / "metrics.jsonl"
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records


def read_recipe_data(path: Path) -> dict[str, Any]:
    """A recipe this project wrote. Raises UserError where it is damaged."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: is damaged ({error}).") from error
    if not isinstance(data, dict):
        raise UserError(f"{path}: is damaged: it is not a recipe.")
    return data


def with_own_tokenizers(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The recipe with the tokenizers' files taken from where they were copied to in `folder`."""
    own = {
        key: block_with_copies(data[key], folder / key)
        for key in (TOKENIZER, TARGET_TOKENIZER)
        if isinstance(data.get(key), dict)
    }
    return {**data, **own}
