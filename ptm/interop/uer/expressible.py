"""Whether UER-py's format holds all of a model: its config is converted back and compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ptm.components.objectives import Objective
from ptm.components.objectives.masked_tokens import MlmHead
from ptm.errors import UserError
from ptm.interop.effective_options import (
    EMBEDDINGS,
    HEAD,
    Options,
    effective_options,
    first_difference,
)
from ptm.interop.uer.config import blocks_of
from ptm.recipe import recipe_from_data
from ptm.recipe.model_block import ModelBlock
from ptm.recipe.model_recipe import Architecture

_STACKS = ("model.encoder", "model.decoder")
_OF_OBJECTIVE = ("pooling", "mlm", "target_bos", "decoder_start")
"""Options of objectives that a config of UER-py records."""


def check_expressible(
    model: ModelBlock, objective: Objective, config: Mapping[str, Any], *, pairs: bool
) -> None:
    """Raise UserError naming the first option of a model that an import of `config` does not give.

    `config` is what an export writes; `pairs`: whether the model has a sentence-pair head. Options
    of training (dropout, initial weights, data) are not compared.
    """
    tied = bool(config.get("tie_weights", False))
    try:
        blocks = blocks_of(config, pairs=pairs, tied=tied)
        back = recipe_from_data(blocks, Architecture, name="the exported model")
    except UserError as error:
        raise UserError(f"UER-py configs cannot express this model: {error}") from error
    found = _options(back.model, back.objective)
    difference = first_difference(_options(model, objective), found)
    if difference is not None:
        raise UserError(f"UER-py configs cannot express this model: {difference}.")


def _options(model: ModelBlock, objective: Objective) -> Options:
    """The options that an export must keep, with the changes that it makes."""
    found = effective_options(model, objective)
    for stack in _STACKS:
        # UER-py's epsilon of layer norms cannot be chosen; an export reports the difference.
        if found.get(f"{stack}.norm") == "layer":
            del found[f"{stack}.norm_epsilon"]
    for name in EMBEDDINGS:
        # Position 0 moves to row 0. Without a decoder the table keeps its size.
        offset = found.pop(f"{name}.position_offset", 0)
        if model.decoder is not None and offset:
            found[f"{name}.positions"] -= offset
        # A table for one segment is written with an unused row for the second.
        if f"{name}.segments" in found:
            found[f"{name}.segments"] = max(2, found[f"{name}.segments"])
    found[f"{EMBEDDINGS[0]}.rows"] = model.embedding.rows
    if isinstance(getattr(objective, "head", None), MlmHead):
        # An export writes zeros for a bias that the model lacks.
        del found[f"{HEAD}.bias"]
    else:
        found["objective.type"] = objective.type
    found |= {f"objective.{key}": getattr(objective, key, None) for key in _OF_OBJECTIVE}
    if found["objective.decoder_start"] == "bos":
        found["objective.decoder_start"] = None
    return found
