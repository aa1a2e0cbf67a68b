"""Conversion of UER-py's next-token models, GPT and GPT-2: what differs from encoders."""

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
    """Whether the config's target is next-token prediction."""
    return config.get("target") in _TARGET


def target_in_tensors(names: Collection[str]) -> dict[str, Any]:
    """Return config keys of a next-token model, inferred from its tensor names.

    In older versions of UER-py these were command-line options and are absent from the config.
    """
    parts = [part for part in _PARTS if f"embedding.{part}.embedding.weight" in names]
    return {
        "embedding": parts,
        "remove_embedding_layernorm": "embedding.layer_norm.gamma" not in names,
        "layernorm_positioning": "pre" if "encoder.layer_norm.gamma" in names else "post",
        "has_lmtarget_bias": "target.lm.output_layer.bias" in names,
        "mask": "causal",
        "target": ["lm"],
    }


def check_target(config: Mapping[str, Any], *, causal: bool) -> None:
    """Raise UserError if the config's target contradicts the tensors.

    `causal`: whether the tensors have the output layer of target `lm`.
    """
    if is_causal(config) is not causal:
        expected_target = "lm" if causal else "mlm"
        raise UserError(
            f"target = {json.dumps(config.get('target'))} contradicts the weights, which have the "
            f"output layer of target {expected_target}."
        )


def check_mask(config: Mapping[str, Any]) -> None:
    """Raise UserError unless mask "causal" and target "lm" occur together."""
    mask = config.get("mask", "fully_visible")
    if (mask == "causal") is not is_causal(config):
        raise UserError(
            f'mask = "{mask}" with target = {json.dumps(config.get("target"))} is not supported. '
            'Target "lm" needs mask "causal"; all other targets need another mask.'
        )


def check_output(model: ModelBlock, head: LmHead) -> None:
    """Raise UserError if UER-py's output layer cannot represent the model's."""
    if head.scaled:
        raise UserError("UER-py configs cannot express objective.head.scaled = true.")
    if head.tied and model.embedding.size not in (None, model.encoder.hidden_size):
        raise UserError(
            f"UER-py configs with target lm cannot express model.embedding.size = "
            f"{model.embedding.size} with objective.head.tied = true: their output layer has the "
            f"width hidden_size = {model.encoder.hidden_size}."
        )
