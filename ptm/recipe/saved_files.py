"""Readers of the files that runs, exports and imports have in common."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from ptm.errors import UserError
from ptm.recipe.former_keys import convert, take_format
from ptm.text.tokenizers.files import block_with_copies

TOKENIZER, TARGET_TOKENIZER = "tokenizer", "target_tokenizer"
"""The folders of a run (or an import) that hold copies of its tokenizers' files."""
WEIGHTS, RECIPE = "weights.safetensors", "recipe.yaml"


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The records of a run's metrics.jsonl; a line that a kill left incomplete is skipped."""
    path = run / "metrics.jsonl"
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records


def read_recipe_data(path: Path) -> dict[str, Any]:
    """The data of a recipe.yaml that ptm wrote, converted to today's format.

    Raises UserError if the file is missing or damaged.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: the file is damaged ({error}).") from error
    if not isinstance(data, dict):
        raise UserError(f"{path}: the file is damaged: it is not a recipe.")
    return convert(data, format_number=take_format(data, name=str(path)) or 1)


def with_own_tokenizers(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The recipe's data with the tokenizers' paths replaced by those of their copies in
    `folder`."""
    copies = {
        key: block_with_copies(data[key], folder / key)
        for key in (TOKENIZER, TARGET_TOKENIZER)
        if isinstance(data.get(key), dict)
    }
    return {**data, **copies}
