"""Encoder-decoders: T5, mT5, BART and PEGASUS."""

from __future__ import annotations

from typing import Any

from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    MT5Config,
    MT5ForConditionalGeneration,
    PegasusConfig,
    PegasusForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
)

from tests.integration.parity.cases import mistakes
from tests.integration.parity.cases.mistakes import Mistake, option
from tests.integration.parity.cases.models import HF_UNTIED, Changes, Export, Family, Import
from tests.support.two_sided import CASES

_T5_SIZES: dict[str, Any] = {
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 1,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 12,
    "decoder_start_token_id": 0,
}
_BART_SIZES: dict[str, Any] = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 40,
    "decoder_ffn_dim": 56,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "decoder_start_token_id": 2,
}

T5 = Family(
    name="t5",
    hf_class=T5ForConditionalGeneration,
    recipe=CASES["t5"].blocks,
    config_class=T5Config,
    sizes=_T5_SIZES,
    last_norm="decoder.final_layer_norm",
)
MT5 = Family(
    name="mt5",
    hf_class=MT5ForConditionalGeneration,
    recipe=CASES["t5-1.1"].blocks,
    config_class=MT5Config,
    sizes=_T5_SIZES,
    last_norm="decoder.final_layer_norm",
)
BART = Family(
    name="bart",
    hf_class=BartForConditionalGeneration,
    recipe=CASES["bart"].blocks,
    config_class=BartConfig,
    sizes=_BART_SIZES,
    last_norm="model.decoder.layers.1.final_layer_norm",
)
PEGASUS = Family(
    name="pegasus",
    hf_class=PegasusForConditionalGeneration,
    recipe=CASES["pegasus"].blocks,
    config_class=PegasusConfig,
    sizes={**_BART_SIZES, "scale_embedding": True},
    last_norm="model.decoder.layer_norm",
)

_T5_1_1 = Export(T5, "1.1", recipe=CASES["t5-1.1"].blocks)
_T5_UNSCALED = Export(T5, "unscaled", recipe=CASES["t5-unscaled"].blocks, weights_format="bin")
_BART_SCALED = Export(
    BART,
    "scaled",
    recipe=CASES["bart-scaled"].blocks,
    attention="eager",
    weights_format="bin",
)
_T5, _BART, _PEGASUS = Export(T5), Export(BART), Export(PEGASUS)
EXPORTS = (_T5, _T5_1_1, _T5_UNSCALED, _BART, _BART_SCALED, _PEGASUS)
SLOW_EXPORTS = (
    *(Export(family, "eager", attention="eager") for family in (T5, BART, PEGASUS)),
    *(Export(family, "bin", weights_format="bin") for family in (T5, BART, PEGASUS)),
)

_T5_OBJECTIVE: Changes = {"objective": {"type": "t5"}}
_BART_OBJECTIVE: Changes = {"objective": {"type": "bart"}}
_GSG_OBJECTIVE: Changes = {"objective": {"type": "gsg"}}

# A T5 is exported only with the activations of T5 and T5 1.1; an mT5 is exported as a T5.
IMPORTS = (
    Import(T5, recipe=_T5_OBJECTIVE),
    Import(
        T5,
        "1.1",
        {"feed_forward_proj": "gated-gelu", **HF_UNTIED, "d_kv": 12},
        own_output=True,
        recipe=_T5_OBJECTIVE,
    ),
    Import(
        T5,
        "silu-epsilon",
        {"feed_forward_proj": "gated-silu", "layer_norm_epsilon": 1e-5},
        recipe=_T5_OBJECTIVE,
        round_trip=False,
    ),
    Import(T5, "gelu", {"feed_forward_proj": "gelu"}, recipe=_T5_OBJECTIVE, round_trip=False),
    Import(MT5, own_output=True, recipe=_T5_OBJECTIVE, round_trip=False),
    Import(BART, recipe=_BART_OBJECTIVE),
    Import(
        BART,
        "scaled-gelu_new",
        {"scale_embedding": True, "activation_function": "gelu_new"},
        recipe=_BART_OBJECTIVE,
    ),
    Import(PEGASUS, recipe=_GSG_OBJECTIVE),
    Import(
        PEGASUS,
        "unscaled-relu",
        {"scale_embedding": False, "activation_function": "relu"},
        recipe=_GSG_OBJECTIVE,
    ),
    Import(
        PEGASUS,
        "odd width",
        {"d_model": 33, "encoder_attention_heads": 3, "decoder_attention_heads": 3},
        recipe=_GSG_OBJECTIVE,
    ),
)

_SIDES = ("encoder", "decoder")
_ROWS = (mistakes.SEEN, mistakes.SEEN_TARGETS)
_SILU = tuple(option(side, activation="silu") for side in _SIDES)
_EPSILON = tuple(option(side, norm_epsilon=1e-3) for side in _SIDES)

MISTAKES: dict[Export, tuple[Mistake, ...]] = {
    _T5: (
        *_ROWS,
        *_SILU,
        *_EPSILON,
        *(option(side, attention_scale=True) for side in _SIDES),
        option("encoder", position_bias={"buckets": 16, "max_distance": 24}),
        option("decoder", position_bias={"buckets": 16, "max_distance": 18}),
        option("head", scaled=False),
    ),
    _T5_1_1: (
        *_ROWS,
        *_SILU,
        option("encoder", activation="gelu"),
        option("head", scaled=True),
    ),
    _T5_UNSCALED: (*_ROWS, *_SILU, option("head", scaled=True)),
    _BART: (
        *_ROWS,
        *_SILU,
        *_EPSILON,
        option("encoder", heads=4),
        option("encoder", attention_scale=False),
        option("decoder", norm_epsilon=1e-12),
        option("embedding", position_offset=0),
        option("embedding", position_offset=1),
        option("embedding", scaled=True),
        option("head", scaled=True),
    ),
    _BART_SCALED: (*_ROWS, *_SILU, option("embedding", scaled=False)),
    _PEGASUS: (
        *_ROWS,
        *_SILU,
        *_EPSILON,
        option("decoder", heads=4),
        option("embedding", scaled=False),
        option("embedding", sinusoidal_order="interleaved"),
        option("embedding", sinusoidal_order="uer"),
    ),
}
