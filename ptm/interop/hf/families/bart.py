"""BART in transformers (Lewis et al. 2019, arXiv:1910.13461)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from ptm.components.objectives import Objective
from ptm.errors import UserError
from ptm.interop.hf.base import Family, Tensors
from ptm.interop.hf.shared import bart_stacks
from ptm.interop.hf.shared.bart_stacks import POSITIONS, SIDES
from ptm.interop.hf.shared.encoder_decoder import module_names
from ptm.interop.hf.shared.naming import KINDS
from ptm.recipe.model_block import ModelBlock
from ptm.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch import Tensor

_OFFSET = 2
"""The row of position 0 in every BART's position embedding."""
_FIXED = bart_stacks.fixed(
    "post", {"parts": ("word", "position"), "layer_norm": True}, expressible=("position_offset",)
)
_OUTSIDE = {
    ours: theirs
    for side, embedding in SIDES.items()
    for ours, theirs in module_names(
        f"{embedding}.norm", [f"model.{side}.layernorm_embedding"], KINDS
    ).items()
}
# Switches of early configs; another value is another architecture (mBART, for one).
_FIXED_KEYS = {
    "normalize_before": False,
    "add_final_layer_norm": False,
    "normalize_embedding": True,
    "static_position_embeddings": False,
    "add_bias_logits": False,
}


class Bart(Family):
    """`BartForConditionalGeneration`."""

    name = "bart"
    is_encoder_decoder = True
    base_prefix = "model."
    signature_tensors = (
        "model.encoder.layernorm_embedding.weight",
        "model.decoder.layers.0.encoder_attn.q_proj.weight",
    )

    def unsupported_reason(self, model: ModelBlock, objective: Objective) -> str | None:
        return bart_stacks.unsupported_reason(model, objective, _FIXED)

    def config(
        self, model: ModelBlock, objective: Objective, vocabulary: Vocabulary
    ) -> dict[str, Any]:
        return {
            "architectures": ["BartForConditionalGeneration"],
            "model_type": "bart",
            **bart_stacks.config_of(model, objective, vocabulary),
        }

    def to_huggingface(
        self, tensors: Tensors, model: ModelBlock, objective: Objective
    ) -> dict[str, Tensor]:
        found = bart_stacks.to_hf_names(tensors, model, objective, _OUTSIDE)
        embeddings = (model.embedding, model.decoder_embedding)
        for (side, ours), embedding in zip(SIDES.items(), embeddings, strict=True):
            found[POSITIONS.format(side=side)] = _with_unused_rows(
                tensors[f"{ours}.position.weight"], offset=embedding.position_offset
            )
        return found

    def qualified_name(self, name: str) -> str:
        return bart_stacks.qualified_name(name)

    def matches_checkpoint(self, config: Mapping[str, Any], names: Collection[str]) -> bool:
        # Other families have the same tensor names.
        return self.matches_config(config) and self.has_signature_tensors(names)

    def to_recipe(self, config: Mapping[str, Any], tensors: Tensors) -> dict[str, Any]:
        bart_stacks.check_fixed_values(config, _FIXED_KEYS)
        found = bart_stacks.blocks_of(
            config,
            stack={"norm_position": "post", "norm_epsilon": bart_stacks.EPSILON},
            embedding={
                "parts": ["word", "position"],
                "positions": config["max_position_embeddings"] + _OFFSET,
                "position_offset": _OFFSET,
            },
        )
        head = found.pop("head")
        return {**found, "objective": {"type": "bart", "head": head}}

    def from_huggingface(self, tensors: Tensors, config: Mapping[str, Any]) -> dict[str, Tensor]:
        theirs = {self.qualified_name(name): tensor for name, tensor in tensors.items()}
        if "model.encoder.layer_norm.weight" in theirs:
            raise UserError(
                "config.json: model_type is bart, but the encoder ends in a norm "
                "(model.encoder.layer_norm.weight), as in mBART, which is not supported."
            )
        found = bart_stacks.from_hf_names(theirs, config, _OUTSIDE)
        for side, ours in SIDES.items():
            found[f"{ours}.position.weight"] = theirs[POSITIONS.format(side=side)]
        return found


def _with_unused_rows(table: Tensor, *, offset: int) -> Tensor:
    """The position embedding with two unused rows before position 0, which is at row `offset`."""
    import torch

    if offset == _OFFSET:
        return table
    return torch.cat((table.new_zeros(_OFFSET, table.shape[1]), table[offset:]))
