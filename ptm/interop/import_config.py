"""`ptm import --config-only`: convert a model config to `model` and `objective` blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ptm.errors import UserError
from ptm.interop.folders import read_config
from ptm.interop.hf.families import families, model_types
from ptm.interop.hf.io.vocabulary_options import decoder_start, special_ids_in
from ptm.interop.hf.with_head import family_with_head
from ptm.interop.uer.config import blocks_of, check_positions, has_pairs, is_uer_config
from ptm.recipe import recipe_from_data
from ptm.recipe.model_recipe import Architecture


def recipe_blocks(path: Path) -> str:
    """Return the config at `path` as the YAML of a recipe's `model:` and `objective:` blocks.

    Raises UserError if the file cannot be read or its model is not supported.
    """
    config = read_config(path)
    try:
        blocks = _blocks(config, path)
    except KeyError as error:
        raise UserError(f"{path}: the key {error} is missing.") from error
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: a value has the wrong type ({error}).") from error
    # Validate the blocks as part of a recipe; raises UserError.
    recipe_from_data(blocks, Architecture, name=str(path))
    text = yaml.safe_dump(blocks, sort_keys=False, allow_unicode=True)
    return f"# From {path}\n{text}"


def _blocks(config: dict[str, Any], path: Path) -> dict[str, Any]:
    if is_uer_config(config):
        tied = bool(config.get("tie_weights", False))
        try:
            blocks = blocks_of(config, pairs=has_pairs(config), tied=tied)
            check_positions(config)
            return blocks
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
    for family in families():
        if family.matches_config(config):
            try:
                blocks = (family_with_head(family, config, ()) or family).blocks(config, {})
                ids = special_ids_in(config)
                if family.is_encoder_decoder and ids:
                    blocks["objective"] |= decoder_start(config, ids, config)
                return blocks
            except UserError as error:
                raise UserError(f"{path}: {str(error).removeprefix('config.json: ')}") from error
    known = ", ".join(model_types())
    raise UserError(
        f'{path}: model_type "{config.get("model_type")}" is not supported. Supported: {known}, '
        "and the configs of UER-py."
    )
