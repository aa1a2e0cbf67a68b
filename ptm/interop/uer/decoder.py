"""The decoder of UER-py and TencentPretrain: its config and tensors.

The embeddings of encoder and decoder have the same widths and norms. UER-py scales the word vectors
of both if the encoder's have sinusoidal positions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ptm.components.decoders.transformer import TransformerDecoder
from ptm.errors import UserError
from ptm.interop.uer.encoders.base import check_supported
from ptm.interop.uer.encoders.transformer import (
    cross_attention,
    feed_forward,
    norm,
    relative_positions,
    self_attention,
    stack_block,
    stack_config,
)
from ptm.interop.uer.entries import Entry
from ptm.recipe.model_block import ModelBlock

_ONLY: Mapping[str, tuple[Any, ...]] = {
    "encoder": ("transformer",),
    "decoder": ("transformer",),
    "mask": ("fully_visible",),
    "target": (["lm"], "lm"),
    "factorized_embedding_parameterization": (False,),
    "rotary_position_embedding": (False,),
}
_NORMS = ("attention_norm", "cross_attention_norm", "feed_forward_norm")


def decodes(config: Mapping[str, Any]) -> bool:
    """Whether the config describes a model with a decoder."""
    return config.get("decoder") is not None


def shares_words(config: Mapping[str, Any]) -> bool:
    """Whether encoder and decoder have one word embedding."""
    return bool(config.get("share_embedding", False))


def decoder_block(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `model.decoder` block without the activation.

    Raises KeyError for a missing size, UserError for an option that is not supported.
    """
    check_supported(config, _ONLY)
    check_supported(config, {"emb_size": (config["hidden_size"],)})
    return {**stack_block(config), "layers": config["decoder_layers_num"]}


def decoder_config(model: ModelBlock) -> dict[str, Any]:
    """Return the config keys of a decoder. Raises UserError if UER-py has no such decoder."""
    decoder = model.decoder
    if not isinstance(decoder, TransformerDecoder):
        raise UserError("UER-py configs can express no other decoder than a transformer.")
    return {
        "decoder": "transformer",
        **{key: v for key, v in stack_config(decoder).items() if key not in ("layers_num",)},
        "decoder_layers_num": decoder.layers,
        "share_embedding": model.decoder_embedding.shared,
    }


def decoder_entries(config: Mapping[str, Any]) -> Iterator[Entry]:
    """Yield the entries of the decoder's layers."""
    yield from relative_positions("decoder_position_bias", "decoder.self_pos_emb", config)
    for index in range(config["decoder_layers_num"]):
        ours, theirs = f"decoder_{index:02}.", f"decoder.transformer_decoder.{index}."
        yield from self_attention(f"{ours}attention", f"{theirs}self_attn", config)
        yield from cross_attention(f"{ours}cross_attention", f"{theirs}context_attn", config)
        yield from feed_forward(f"{ours}feed_forward", f"{theirs}feed_forward", config)
        for number, name in enumerate(_NORMS, start=1):
            yield from norm(f"{ours}{name}", f"{theirs}layer_norm_{number}", config)
    if config.get("layernorm_positioning") == "pre":
        yield from norm("decoder_norm", "decoder.layer_norm", config)
