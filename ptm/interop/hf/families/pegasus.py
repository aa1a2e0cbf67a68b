"""PEGASUS in transformers (Zhang et al. 2019, arXiv:1912.08777)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

from ptm.components.objectives import Objective
from ptm.errors import UserError
from ptm.interop.effective_options import EMBEDDINGS, HEAD, Options
from ptm.interop.hf.base import Family, Tensors
from ptm.interop.hf.model_config import ModelConfig
from ptm.interop.hf.shared import bart_stacks, encoder_decoder
from ptm.interop.hf.shared.bart_stacks import POSITIONS, SIDES
from ptm.interop.hf.shared.encoder_decoder import module_names
from ptm.interop.hf.shared.naming import KINDS
from ptm.interop.weight_checks import check_word_embedding
from ptm.nn.model_shape import SinusoidalOrder
from ptm.recipe.model_block import ModelBlock
from ptm.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch import Tensor

_OUTSIDE = {
    ours: theirs
    for side in SIDES
    for ours, theirs in module_names(f"{side}_norm", [f"model.{side}.layer_norm"], KINDS).items()
}
# Switches of early configs; another value is another architecture.
_FIXED_KEYS = {
    "normalize_before": True,
    "add_final_layer_norm": True,
    "normalize_embedding": False,
    "static_position_embeddings": True,
    "add_bias_logits": False,
}
_ORDERS: tuple[SinusoidalOrder, ...] = get_args(SinusoidalOrder)
_CLOSE = 1e-3
"""Largest difference between tables of one formula: fp32 angles in the hundreds lose digits."""


class Pegasus(Family):
    """`PegasusForConditionalGeneration`."""

    name = "pegasus"
    is_encoder_decoder = True
    base_prefix = "model."
    model_types = ("pegasus",)
    aliases = bart_stacks.ALIASES
    fixed_keys = _FIXED_KEYS
    keys_without_effect = bart_stacks.WITHOUT_EFFECT
    buffer_pattern = bart_stacks.BUFFERS
    signature_tensors = (
        "model.encoder.layer_norm.weight",
        "model.decoder.layers.0.encoder_attn.q_proj.weight",
    )

    def structure_reason(self, model: ModelBlock, objective: Objective) -> str | None:
        reason = encoder_decoder.structure_reason(model, objective)
        if reason is not None:
            return reason
        here, there = model.embedding.sinusoidal_order, model.decoder_embedding.sinusoidal_order
        if here != there:
            return (
                f"model.embedding.sinusoidal_order = {here} but "
                f"model.target_embedding.sinusoidal_order = {there}"
            )
        return None

    def as_written(self, options: Options) -> Options:
        # The order is in the position tables, not in the config.
        orders = {f"{name}.sinusoidal_order": _ORDERS[0] for name in EMBEDDINGS}
        known = {key: value for key, value in orders.items() if key in options}
        return {**options, **known, f"{HEAD}.bias": True}

    def config(
        self, model: ModelBlock, objective: Objective, vocabulary: Vocabulary
    ) -> dict[str, Any]:
        return {
            "architectures": ["PegasusForConditionalGeneration"],
            "model_type": "pegasus",
            **bart_stacks.config_of(model, objective, vocabulary),
        }

    def to_huggingface(
        self, tensors: Tensors, model: ModelBlock, objective: Objective
    ) -> dict[str, Tensor]:
        # transformers loads the position table from the checkpoint, so either order works.
        found = bart_stacks.to_hf_names(tensors, model, objective, _OUTSIDE)
        embedding = model.embedding
        shape = (embedding.positions, model.encoder.hidden_size)
        table = _table(*shape, order=embedding.sinusoidal_order)
        return {**found, **{_name(side): table for side in SIDES}}

    def qualified_name(self, name: str) -> str:
        return bart_stacks.qualified_name(name)

    def to_recipe(self, config: ModelConfig, tensors: Tensors) -> dict[str, Any]:
        found = bart_stacks.blocks_of(
            config,
            stack={"norm_position": "pre", "norm_epsilon": bart_stacks.EPSILON},
            embedding={
                "parts": ["word", "sinusoidal"],
                "layer_norm": False,
                "positions": config["max_position_embeddings"],
                "sinusoidal_order": _order(tensors),
            },
        )
        head = found.pop("head")
        return {**found, "objective": {"type": "gsg", "head": head}}

    def from_huggingface(self, tensors: Tensors, config: Mapping[str, Any]) -> dict[str, Tensor]:
        # ptm computes positions; their tables are only checked.
        _order(tensors)
        return bart_stacks.from_hf_names(tensors, config, _OUTSIDE)


def _order(theirs: Tensors) -> SinusoidalOrder:
    """The order of sines and cosines in the position tables; transformers' order without tables.

    Raises UserError for a table that is not sinusoidal, such as a trained one.
    """
    orders = _ORDERS
    tables = {name: theirs[name] for name in map(_name, SIDES) if name in theirs}
    for name, table in tables.items():
        check_word_embedding(theirs, name)
        fitting = [order for order in orders if _is_close(table, order)]
        if not fitting:
            raise UserError(
                f"{name} is not a sinusoidal position table as transformers or UER-py compute it. "
                "A PEGASUS model with other positions is not supported."
            )
        orders = tuple(fitting)
    return orders[0]


def _name(side: str) -> str:
    return POSITIONS.format(side=side)


def _is_close(table: Tensor, order: SinusoidalOrder) -> bool:
    return bool((table - _table(*table.shape, order=order)).abs().max() <= _CLOSE)


def _table(positions: int, width: int, *, order: SinusoidalOrder) -> Tensor:
    import torch

    from ptm.nn.positions import SinusoidalPositions

    table: Tensor = SinusoidalPositions(width, order=order)(torch.arange(positions))
    return table
