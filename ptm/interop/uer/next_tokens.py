"""What is particular to UER-py's models of the next token, GPT and GPT-2."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from ptm.components.objectives.next_tokens import LmHead
from ptm.errors import UserError
from ptm.recipe.model_block import ModelBlock

_TARGET: tuple[Any, ...] = (["lm"], "lm")
_PARTS = ("word", "pos", "seg")


def is_causal(config: Mapping[str, Any]) -> bool:
    """Whether its target is the next token."""
    return config.get("target") in _TARGET


def said_by_tensors(names: Collection[str]) -> dict[str, Any]:
    """What UER-py's command line said of a model of the next token, and its config did not yet."""
    parts = [part for part in _PARTS if f"embedding.{part}.embedding.weight" in names]
    return {
        "embedding": parts,
        "remove_embedding_layernorm": "embedding.layer_norm.gamma" not in names,
        "layernorm_positioning": "pre" if "encoder.layer_norm.gamma" in names else "post",
        "has_lmtarget_bias": "target.lm.output_layer.bias" in names,
        "mask": "causal",
        "target": ["lm"],
    }


def refuse_other_target(config: Mapping[str, Any], *, causal: bool) -> None:
    """Raise UserError where the config is of another target than the tensors (`causal`: lm)."""
    if is_causal(config) is not causal:
        there = "lm" if causal else "mlm"
        raise UserError(
            f"the config says target: {json.dumps(config.get('target'))}, but the weights have the "
            f"output layer of {there}."
        )


def refuse_other_mask(config: Mapping[str, Any]) -> None:
    """Raise UserError unless the mask goes with the target."""
    mask = config.get("mask", "fully_visible")
    if (mask == "causal") is not is_causal(config):
        raise UserError(
            f'the config says mask: "{mask}" with target: {json.dumps(config.get("target"))}, '
            'which is not supported here; "causal" goes with "lm".'
        )


def refuse_other_output(model: ModelBlock, head: LmHead) -> None:
    """Raise UserError where their output layer cannot be the model's."""
    if head.scaled:
        raise UserError("objective.head.scaled = true has no place in a config of UER-py's.")
    if model.embedding.size not in (None, model.encoder.hidden_size):
        raise UserError(
            f"model.embedding.size = {model.embedding.size} has no place in a config of UER-py's "
            f"with the target lm, whose output layer is of hidden_size = "
            f"{model.encoder.hidden_size}."
        )
