"""BART in transformers (Lewis et al. 2019, arXiv:1910.13461)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ptm.components.objectives import Objective
from ptm.components.objectives.bart import Bart as BartObjective
from ptm.errors import UserError
from ptm.interop.effective_options import EMBEDDINGS, HEAD, Options
from ptm.interop.hf.base import Family, Tensors
from ptm.interop.hf.model_config import ModelConfig
from ptm.interop.hf.shared import bart_stacks, encoder_decoder
from ptm.interop.hf.shared.bart_stacks import POSITIONS, SIDES
from ptm.interop.hf.shared.encoder_decoder import module_names
from ptm.interop.hf.shared.naming import KINDS
from ptm.recipe.model_block import ModelBlock
from ptm.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch import Tensor

_OFFSET = 2
"""The row of position 0 in every BART's position embedding."""
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
    model_types = ("bart",)
    head_pattern = r"classification_head\.|qa_outputs\."
    aliases = bart_stacks.ALIASES
    fixed_keys = _FIXED_KEYS
    keys_without_effect = bart_stacks.WITHOUT_EFFECT
    buffer_pattern = bart_stacks.BUFFERS
    signature_tensors = (
        "model.encoder.layernorm_embedding.weight",
        "model.decoder.layers.0.encoder_attn.q_proj.weight",
    )

    def pretraining_objective(self, *, decoder_start: str | None = None) -> Objective:
        return BartObjective.model_validate({"type": "bart", "decoder_start": decoder_start})

    def structure_reason(self, model: ModelBlock, objective: Objective) -> str | None:
        return encoder_decoder.structure_reason(model, objective)

    def as_written(self, options: Options) -> Options:
        # Position 0 is in row 2, see `_with_unused_rows`.
        moved = {}
        for name in EMBEDDINGS:
            if f"{name}.position_offset" in options:
                unused = options[f"{name}.position_offset"] - _OFFSET
                moved[f"{name}.positions"] = options[f"{name}.positions"] - unused
                moved[f"{name}.position_offset"] = _OFFSET
        return {**options, **moved, f"{HEAD}.bias": True}

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

    def to_recipe(self, config: ModelConfig, tensors: Tensors) -> dict[str, Any]:
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
        if "model.encoder.layer_norm.weight" in tensors:
            raise UserError(
                "config.json: model_type is bart, but the encoder ends in a norm "
                "(model.encoder.layer_norm.weight), as in mBART, which is not supported."
            )
        found = bart_stacks.from_hf_names(tensors, config, _OUTSIDE)
        for side, ours in SIDES.items():
            found[f"{ours}.position.weight"] = tensors[POSITIONS.format(side=side)]
        return found


def _with_unused_rows(table: Tensor, *, offset: int) -> Tensor:
    """The position embedding with two unused rows before position 0, which is at row `offset`."""
    import torch

    if offset == _OFFSET:
        return table
    return torch.cat((table.new_zeros(_OFFSET, table.shape[1]), table[offset:]))
