"""What BART and PEGASUS share in transformers: tensor names and config keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ptm.components.objectives import Objective
from ptm.interop.hf.base import Tensors
from ptm.interop.hf.shared import encoder_decoder
from ptm.interop.hf.shared.encoder_decoder import (
    OUTPUT,
    OUTPUT_BIAS,
    WORDS,
    NameMap,
    Stacks,
    module_names,
)
from ptm.interop.hf.shared.naming import KINDS, check_layer_count, check_table_sizes
from ptm.interop.hf.shared.post_norm import ACTIVATIONS, activation_from_config
from ptm.recipe.model_block import ModelBlock
from ptm.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch import Tensor

_WORDS, _OUTPUT = "model.shared.weight", "lm_head.weight"
BIAS = "final_logits_bias"
POSITIONS = "model.{side}.embed_positions.weight"
EPSILON = 1e-5
"""Epsilon of their layer norms, fixed in transformers."""
_COPIES = ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight")
_LAYER = {
    "attention.qkv": tuple(f"self_attn.{part}_proj" for part in "qkv"),
    "attention.output": ("self_attn.out_proj",),
    "attention_norm": ("self_attn_layer_norm",),
    "feed_forward.up": ("fc1",),
    "feed_forward.down": ("fc2",),
    "feed_forward_norm": ("final_layer_norm",),
}
_CROSS_ATTENTION = {
    "cross_attention.query": ("encoder_attn.q_proj",),
    "cross_attention.key_value": tuple(f"encoder_attn.{part}_proj" for part in "kv"),
    "cross_attention.output": ("encoder_attn.out_proj",),
    "cross_attention_norm": ("encoder_attn_layer_norm",),
}
ALIASES = {
    "num_attention_heads": "encoder_attention_heads",
    "hidden_size": "d_model",
    "num_hidden_layers": "encoder_layers",
}
WITHOUT_EFFECT = (
    # In training only.
    *("activation_dropout", "encoder_layerdrop", "decoder_layerdrop"),
    # Further rows of the position table, whose number every model of the family has.
    "extra_pos_embeddings",
)
BUFFERS = r"(encoder|decoder)\.version$"
"""The version of fairseq that old checkpoints were made with."""
SIDES = {"encoder": "embedding", "decoder": "target_embedding"}
"""The two stacks, and ptm's name of the embedding before each."""


def config_of(model: ModelBlock, objective: Objective, vocabulary: Vocabulary) -> dict[str, Any]:
    """The config keys that BartConfig and PegasusConfig share."""
    stacks, shape = Stacks.of(model, objective), model.shape(vocabulary.size)
    sizes: dict[str, Any] = {}
    for side, stack in (("encoder", stacks.encoder), ("decoder", stacks.decoder)):
        sizes |= {
            f"{side}_layers": stack.layers,
            f"{side}_attention_heads": stack.heads,
            f"{side}_ffn_dim": stack.feed_forward_size,
        }
    return {
        "is_encoder_decoder": True,
        "vocab_size": shape.vocabulary_size,
        "d_model": stacks.encoder.hidden_size,
        **sizes,
        "max_position_embeddings": model.embedding.positions - model.embedding.position_offset,
        "activation_function": ACTIVATIONS[stacks.encoder.activation],
        "scale_embedding": model.embedding.scaled,
        "dropout": shape.dropout,
        "attention_dropout": shape.attention_dropout,
        "activation_dropout": 0.0,
        "init_std": model.init.std,
        "tie_word_embeddings": stacks.head.tied,
        **encoder_decoder.special_ids(vocabulary, objective),
        "forced_eos_token_id": None,
        "torch_dtype": "float32",
    }


def to_hf_names(
    tensors: Tensors, model: ModelBlock, objective: Objective, outside: NameMap
) -> dict[str, Tensor]:
    """All tensors but the positions, under transformers' names.

    `outside`: names of the family's tensors beside word embeddings and layers. A model without an
    output bias gets zeros.
    """
    stacks = Stacks.of(model, objective)
    layers = {"encoder": stacks.encoder.layers, "decoder": stacks.decoder.layers}
    found = encoder_decoder.split_and_rename(tensors, {**_parts(layers), **outside})
    if not stacks.head.tied:
        # transformers ties the three word embeddings only if the output is tied too.
        found |= dict.fromkeys(_COPIES, tensors[WORDS])
    bias = tensors.get(OUTPUT_BIAS)
    words = tensors[WORDS]
    found[BIAS] = (words.new_zeros(len(words)) if bias is None else bias)[None]
    return found


def qualified_name(name: str) -> str:
    """The name with the prefix `model.`, which bare models lack."""
    whole = ("model.", "lm_head.", BIAS)
    return name if name.startswith(whole) else f"model.{name}"


def blocks_of(
    config: Mapping[str, Any], *, stack: Mapping[str, Any], embedding: Mapping[str, Any]
) -> dict[str, Any]:
    """The recipe's `model` block and, under `head`, the objective's head.

    `stack`, `embedding`: options of both stacks and both embeddings that the family fixes.
    """
    stacks = {
        side: {
            "type": "transformer",
            "hidden_size": config["d_model"],
            "layers": config[f"{side}_layers"],
            "heads": config[f"{side}_attention_heads"],
            "feed_forward_size": config[f"{side}_ffn_dim"],
            "activation": activation_from_config(config, "activation_function"),
            **stack,
        }
        for side in SIDES
    }
    scaled = bool(config.get("scale_embedding", False))
    return {
        "model": {
            "dropout": float(config.get("dropout", 0.1)),
            "attention_dropout": float(config.get("attention_dropout", 0.0)),
            "embedding": {**embedding, "scaled": scaled},
            **stacks,
            "init": {"std": float(config.get("init_std", 0.02))},
        },
        "head": {"tied": bool(config.get("tie_word_embeddings", True)), "bias": True},
    }


def from_hf_names(
    theirs: Tensors, config: Mapping[str, Any], outside: NameMap
) -> dict[str, Tensor]:
    """All tensors but the positions under canonical names; `theirs` has full names.

    A checkpoint without an output bias gets zeros. Raises UserError where layers, tied tensors or
    vocabulary contradict the config.
    """
    layers = {side: config[f"{side}_layers"] for side in SIDES}
    for side, count in layers.items():
        check_layer_count(theirs, f"model.{side}.layers.", count, key=f"{side}_layers")
    tied = bool(config.get("tie_word_embeddings", True))
    encoder_decoder.check_tied_copies(theirs, _WORDS, _COPIES)
    check_table_sizes(theirs, config, {"vocab_size": _WORDS})
    parts = {**_parts(layers), **outside}
    found = encoder_decoder.rename_and_concatenate(theirs, parts, optional=(OUTPUT,))
    if tied:
        found.pop(OUTPUT, None)
    words = found[WORDS]
    found[OUTPUT_BIAS] = theirs.get(BIAS, words.new_zeros(1, len(words)))[0]
    return found


def _parts(layers: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """Names of word embeddings and layers: canonical name to transformers' names."""
    parts: dict[str, tuple[str, ...]] = {WORDS: (_WORDS,), OUTPUT: (_OUTPUT,)}
    for side, count in layers.items():
        for index in range(count):
            ours, theirs = f"{side}_{index:02}.", f"model.{side}.layers.{index}."
            for mine, names in (_LAYER | _CROSS_ATTENTION if side == "decoder" else _LAYER).items():
                parts |= module_names(f"{ours}{mine}", [f"{theirs}{name}" for name in names], KINDS)
    return parts
