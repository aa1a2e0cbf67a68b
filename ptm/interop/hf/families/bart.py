"""BART as transformers has it (Lewis et al. 2019)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from ptm.components.objectives import Objective
from ptm.errors import UserError
from ptm.interop.hf.base import Family, Tensors
from ptm.interop.hf.shared import bart_stacks
from ptm.interop.hf.shared.bart_stacks import POSITIONS, SIDES
from ptm.interop.hf.shared.encoder_decoder import module
from ptm.interop.hf.shared.naming import KINDS
from ptm.recipe.model_block import ModelBlock
from ptm.text.vocabulary import Vocabulary

_FIRST = 2
"""The row of position 0, in every BART."""
_FIXED = bart_stacks.fixed(
    "post", {"of": ("word", "position"), "layer_norm": True}, said=("position_offset",)
)
_OUTSIDE = {
    ours: theirs
    for side, embedding in SIDES.items()
    for ours, theirs in module(
        f"{embedding}.norm", [f"model.{side}.layernorm_embedding"], KINDS
    ).items()
}
# What configs of the first years said of other architectures that were called bart.
_ONLY = {
    "normalize_before": False,
    "add_final_layer_norm": False,
    "normalize_embedding": True,
    "static_position_embeddings": False,
    "add_bias_logits": False,
}


class Bart(Family):
    """`BartForConditionalGeneration`."""

    name = "bart"
    decodes = True
    base = "model."
    marks = (
        "model.encoder.layernorm_embedding.weight",
        "model.decoder.layers.0.encoder_attn.q_proj.weight",
    )

    def refusal(self, model: ModelBlock, objective: Objective) -> str | None:
        """Post-norm, learnt positions, a norm of each embedding."""
        return bart_stacks.refusal(model, objective, _FIXED)

    def config(
        self, model: ModelBlock, objective: Objective, vocabulary: Vocabulary
    ) -> dict[str, Any]:
        """`BartConfig`."""
        return {
            "architectures": ["BartForConditionalGeneration"],
            "model_type": "bart",
            **bart_stacks.config_of(model, objective, vocabulary),
        }

    def to_huggingface(
        self, tensors: Tensors, model: ModelBlock, objective: Objective
    ) -> dict[str, Tensor]:
        """Two rows that nothing reads stand before position 0."""
        found = bart_stacks.to_theirs(tensors, model, objective, _OUTSIDE)
        embeddings = (model.embedding, model.decoder_embedding)
        for (side, ours), embedding in zip(SIDES.items(), embeddings, strict=True):
            found[POSITIONS.format(side=side)] = _beginning_late(
                tensors[f"{ours}.position.weight"], offset=embedding.position_offset
            )
        return found

    def full_name(self, name: str) -> str:
        """With `model.`, but for the head's."""
        return bart_stacks.full_name(name)

    def recognises(self, config: Mapping[str, Any], names: Collection[str]) -> bool:
        """Its tensors, which other families have too, and its model_type."""
        return self.described_by(config) and self.has_marks(names)

    def blocks(self, config: Mapping[str, Any], tensors: Tensors) -> dict[str, Any]:
        """Sizes from the config. Raises UserError for what only its name has of a BART."""
        bart_stacks.refuse_other_values(config, _ONLY)
        found = bart_stacks.blocks_of(
            config,
            stack={"norm_position": "post", "norm_epsilon": bart_stacks.EPSILON},
            embedding={
                "of": ["word", "position"],
                "positions": config["max_position_embeddings"] + _FIRST,
                "position_offset": _FIRST,
            },
        )
        head = found.pop("head")
        return {**found, "objective": {"type": "bart", "head": head}}

    def from_huggingface(self, tensors: Tensors, config: Mapping[str, Any]) -> dict[str, Tensor]:
        """The inverse of `to_huggingface`."""
        theirs = {self.full_name(name): tensor for name, tensor in tensors.items()}
        if "model.encoder.layer_norm.weight" in theirs:
            raise UserError(
                "config.json: its model_type is bart, but its stacks end in a norm, as mBART's do; "
                "that is not supported."
            )
        found = bart_stacks.from_theirs(theirs, config, _OUTSIDE)
        for side, ours in SIDES.items():
            found[f"{ours}.position.weight"] = theirs[POSITIONS.format(side=side)]
        return found


def _beginning_late(table: Tensor, *, offset: int) -> Tensor:
    """The table with two rows before that of position 0, which is at `offset`."""
    if offset == _FIRST:
        return table
    return torch.cat((table.new_zeros(_FIRST, table.shape[1]), table[offset:]))
