"""How UER-py and TencentPretrain name the tensors of an encoder with a decoder.

A tied word embedding is stored three times: for encoder, decoder and output. T5's norms have a
`weight`, all others gamma and beta.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ptm.components.objectives import Objective
from ptm.components.objectives.next_tokens import LmHead
from ptm.errors import UserError
from ptm.interop.hf.shared.encoder_decoder import (
    OUTPUT,
    OUTPUT_BIAS,
    NameMap,
    rename_and_concatenate,
    split_and_rename,
)
from ptm.interop.hf.shared.encoder_decoder import WORDS as OUR_WORDS
from ptm.interop.uer.names import WORDS, Tensors
from ptm.interop.uer.targets import NEXT_OUTPUT
from ptm.interop.uer.two_stacks import FIRST_POSITION_ROW
from ptm.recipe.model_block import ModelBlock

_TARGET_WORDS = "tgt_embedding.word.embedding.weight"
_EMBEDDINGS = {"embedding": "embedding", "target_embedding": "tgt_embedding"}
_POSITIONS = tuple(f"{ours}.position.weight" for ours in _EMBEDDINGS)
_SIDES = {
    "encoder": ("encoder.transformer", "layers_num", "relative_pos_emb"),
    "decoder": ("decoder.transformer_decoder", "decoder_layers_num", "self_pos_emb"),
}
_NORM_NAMES = {"weight": "gamma", "bias": "beta"}


def from_uer(theirs: Tensors, config: Mapping[str, Any], *, tied: bool) -> dict[str, Tensor]:
    """Convert a state dict to tensors by canonical name.

    `tied`: drop the copy of the word embedding that is the output matrix. Raises UserError for
    tensors that the config's model does not have, KeyError for a missing tensor.
    """
    if not torch.equal(theirs[_TARGET_WORDS], theirs[WORDS]):
        raise UserError(
            f"{_TARGET_WORDS} differs from {WORDS}, but the config has share_embedding = true."
        )
    parts = dict(_parts(config))
    known = {name for names in parts.values() for name in names} | {_TARGET_WORDS}
    beyond = sorted(theirs.keys() - known)
    if beyond:
        shown = ", ".join(beyond[:5]) + (" …" if len(beyond) > 5 else "")
        raise UserError(f"does not match its config. Unexpected tensors: {shown}.")
    found = rename_and_concatenate(theirs, parts, optional=())
    if tied:
        found.pop(OUTPUT)
    for name in _POSITIONS:
        if name in found:
            table = found[name]
            found[name] = torch.cat((table.new_zeros(FIRST_POSITION_ROW, table.shape[1]), table))
    return found


def to_uer(
    tensors: Tensors, model: ModelBlock, objective: Objective, config: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Convert canonical tensors to a UER-py state dict; an output scale moves to the last norm."""
    rest = dict(tensors)
    for name in _POSITIONS:
        if name in rest:
            rest[name] = rest[name][model.embedding.position_offset :]
    head = getattr(objective, "head", None)
    assert isinstance(head, LmHead), "config_of has rejected all other heads"
    if head.scaled:
        rest["decoder_norm.weight"] = rest["decoder_norm.weight"] * model.encoder.hidden_size**-0.5
    rest.setdefault(OUTPUT, rest[OUR_WORDS])
    parts = dict(_parts(config))
    assert rest.keys() == parts.keys(), f"names that do not match: {rest.keys() ^ parts.keys()}"
    return {**split_and_rename(rest, parts), _TARGET_WORDS: rest[OUR_WORDS]}


def _parts(config: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each canonical name with the UER-py names of the tensors that it concatenates."""
    yield OUR_WORDS, (WORDS,)
    yield OUTPUT, (NEXT_OUTPUT.matrix,)
    if config.get("has_lmtarget_bias"):
        yield OUTPUT_BIAS, (NEXT_OUTPUT.bias,)
    for ours, theirs in _EMBEDDINGS.items():
        for mine, name in (("position", "pos"), ("segment", "seg")):
            if name in config["embedding"]:
                yield f"{ours}.{mine}.weight", (f"{theirs}.{name}.embedding.weight",)
        if not config.get("remove_embedding_layernorm"):
            yield from _norm(f"{ours}.norm", f"{theirs}.layer_norm", config)
    for side, (layers, count, bias) in _SIDES.items():
        if config.get("relative_position_embedding"):
            name = f"{side}.{bias}.relative_attention_bias.weight"
            yield f"{side}_position_bias.weight", (name,)
        for index in range(config[count]):
            yield from _layer(f"{side}_{index:02}.", f"{layers}.{index}.", config)
        if config.get("layernorm_positioning") == "pre":
            yield from _norm(f"{side}_norm", f"{side}.layer_norm", config)


def _layer(
    ours: str, theirs: str, config: Mapping[str, Any]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    gated = config.get("feed_forward") == "gated"
    modules: NameMap = {
        "attention.qkv": tuple(f"self_attn.linear_layers.{part}" for part in range(3)),
        "attention.output": ("self_attn.final_linear",),
        **(
            {"feed_forward.gate_up": ("feed_forward.linear_gate", "feed_forward.linear_1")}
            if gated
            else {"feed_forward.up": ("feed_forward.linear_1",)}
        ),
        "feed_forward.down": ("feed_forward.linear_2",),
    }
    norms: tuple[str, ...] = ("attention_norm", "feed_forward_norm")
    if ours.startswith("decoder"):
        norms = ("attention_norm", "cross_attention_norm", "feed_forward_norm")
        modules = {
            **modules,
            "cross_attention.query": ("context_attn.linear_layers.0",),
            "cross_attention.key_value": tuple(
                f"context_attn.linear_layers.{part}" for part in (1, 2)
            ),
            "cross_attention.output": ("context_attn.final_linear",),
        }
    for kind in ("weight",) if config.get("remove_transformer_bias") else ("weight", "bias"):
        for name, parts in modules.items():
            yield f"{ours}{name}.{kind}", tuple(f"{theirs}{part}.{kind}" for part in parts)
    for number, name in enumerate(norms, start=1):
        yield from _norm(f"{ours}{name}", f"{theirs}layer_norm_{number}", config)


def _norm(
    ours: str, theirs: str, config: Mapping[str, Any]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    if config.get("layernorm") == "t5":
        yield f"{ours}.weight", (f"{theirs}.weight",)
        return
    for kind, name in _NORM_NAMES.items():
        yield f"{ours}.{kind}", (f"{theirs}.{name}",)
