"""`ptm import --config-only`: another's config as the `model` and `objective` of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ptm.errors import UserError
from ptm.interop.folders import read_config
from ptm.interop.hf.families import families
from ptm.interop.uer import two_stacks
from ptm.interop.uer.config import blocks_of, has_pairs, is_uer_config
from ptm.recipe import recipe_from_data
from ptm.recipe.model_recipe import Architecture


def recipe_blocks(path: Path) -> str:
    """YAML of `model:` and `objective:`, valid in a recipe.

    Raises UserError where the file cannot be read, or describes no model that can be built here.
    """
    config = read_config(path)
    try:
        blocks = _blocks(config, path)
    except KeyError as error:
        raise UserError(f"{path}: lacks {error}.") from error
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: has a wrong type ({error}).") from error
    # Raises UserError unless the blocks are valid in a recipe around them.
    recipe_from_data(blocks, Architecture, name=str(path))
    text = yaml.safe_dump(blocks, sort_keys=False, allow_unicode=True)
    return f"# From {path}\n{text}"


def _blocks(config: dict[str, Any], path: Path) -> dict[str, Any]:
    if is_uer_config(config):
        tied = bool(config.get("tie_weights", False))
        try:
            if two_stacks.decodes(config):
                return two_stacks.blocks_of(config, tied=tied)
            return blocks_of(config, pairs=has_pairs(config), tied=tied)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
    for family in families():
        if family.described_by(config):
            try:
                return family.blocks(config, {})
            except UserError as error:
                raise UserError(f"{path}: {str(error).removeprefix('config.json: ')}") from error
    known = ", ".join(family.name for family in families())
    raise UserError(
        f'{path}: model_type "{config.get("model_type")}" is not supported; {known} are, and the '
        "configs of UER-py."
    )
