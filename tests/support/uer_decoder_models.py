"""Configs of UER-py's T5, BART, PEGASUS and translation models."""

from __future__ import annotations

from typing import Any

_SIZES = {
    "emb_size": 24,
    "feedforward_size": 40,
    "hidden_size": 24,
    "heads_num": 2,
    "layers_num": 1,
    "decoder_layers_num": 2,
    "dropout": 0.1,
}
_BOTH = {
    "share_embedding": True,
    "encoder": "transformer",
    "mask": "fully_visible",
    "decoder": "transformer",
    "target": ["lm"],
}
_T5 = {
    **_SIZES,
    **_BOTH,
    "data_processor": "t5",
    "embedding": ["word"],
    "tgt_embedding": ["word"],
    "relative_position_embedding": True,
    "remove_embedding_layernorm": True,
    "layernorm_positioning": "pre",
    "remove_attention_scale": True,
    "layernorm": "t5",
    "remove_transformer_bias": True,
}
# The JSON files of its models/ folder, with small sizes.
CONFIGS: dict[str, dict[str, Any]] = {
    "t5": {**_T5, "hidden_act": "relu", "tie_weights": True},
    "t5-v1_1": {
        **_T5,
        "hidden_act": "gelu_fast",
        "attention_head_size": 8,
        "feed_forward": "gated",
    },
    "bart": {
        **_SIZES,
        **_BOTH,
        "hidden_act": "gelu",
        "max_seq_length": 30,
        "data_processor": "bart",
        "embedding": ["word", "pos"],
        "tgt_embedding": ["word", "pos"],
        "tie_weights": True,
        "has_lmtarget_bias": True,
    },
    "pegasus": {
        **_SIZES,
        **_BOTH,
        "hidden_act": "relu",
        "max_seq_length": 30,
        "data_processor": "gsg",
        "embedding": ["word", "sinusoidalpos"],
        "tgt_embedding": ["word", "sinusoidalpos"],
        "remove_embedding_layernorm": True,
        "layernorm_positioning": "pre",
        "has_lmtarget_bias": True,
        "tie_weights": True,
    },
    "translation": {
        **_SIZES,
        **_BOTH,
        "hidden_act": "relu",
        "max_seq_length": 30,
        "data_processor": "mt",
        "embedding": ["word", "sinusoidalpos"],
        "tgt_embedding": ["word", "sinusoidalpos"],
        "share_embedding": False,
        "tie_weights": True,
    },
}
