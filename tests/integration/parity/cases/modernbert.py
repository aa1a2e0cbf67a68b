"""ModernBERT: rotary positions, local attention and gated layers."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import ModernBertConfig, ModernBertForMaskedLM

from tests.integration.parity.cases import mistakes
from tests.integration.parity.cases.mistakes import Mistake, option
from tests.integration.parity.cases.models import (
    HF_UNTIED,
    TIED_HEAD,
    UNTIED,
    UNTIED_HEAD,
    Blocks,
    Export,
    Family,
    Import,
    Weights,
)

LAYERS, EVERY, WINDOW = 5, 3, 8
_WIDTH, _HEADS = 64, 2


def _modernbert(vocab: Path) -> Blocks:
    return {
        "tokenizer": {"type": "wordpiece", "vocab": str(vocab)},
        "model": {
            "embedding": {"parts": ["word"], "positions": 1024},
            "encoder": {
                "type": "transformer",
                "layers": LAYERS,
                "hidden_size": _WIDTH,
                "heads": _HEADS,
                "feed_forward_size": 96,
                "feed_forward": "gated",
                "norm_position": "pre",
                "norm_epsilon": 1e-5,
                "first_norm": False,
                "bias": False,
                "rotary": {"theta": 160000, "local_theta": 10000},
                "window": WINDOW,
                "global_every": EVERY,
            },
        },
        "objective": {"type": "mlm", "head": {}},
    }


MODERNBERT = Family(
    name="modernbert",
    hf_class=ModernBertForMaskedLM,
    recipe=_modernbert,
    config_class=ModernBertConfig,
    sizes={
        "hidden_size": _WIDTH,
        "intermediate_size": 96,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": _HEADS,
        "local_attention": WINDOW,
        "pad_token_id": 0,
    },
    last_norm="head.norm",
)

_GLOBAL = {"window": None, "global_every": None}
_NO_WINDOW = {**_GLOBAL, "rotary": {"theta": 500.0}}

EXPORTS = (
    Export(MODERNBERT),
    Export(
        MODERNBERT,
        "silu-untied",
        {"encoder": {"activation": "silu"}, "head": UNTIED},
        attention="eager",
    ),
    Export(
        MODERNBERT,
        "biases-gelu_tanh-epsilon",
        {"encoder": {"bias": True, "activation": "gelu_tanh", "norm_epsilon": 1e-6}},
        weights_format="bin",
    ),
    Export(
        MODERNBERT,
        "no_window-no_output_bias",
        {"encoder": _NO_WINDOW, "head": {"bias": False}},
        lossless=False,
    ),
    Export(
        MODERNBERT,
        "one_theta",
        {"encoder": {"rotary": {"theta": 300.0}, "window": 4, "global_every": 2}},
        lossless=False,
    ),
)
SLOW_EXPORTS = (
    Export(MODERNBERT, "eager", attention="eager"),
    Export(MODERNBERT, "bin", weights_format="bin"),
    Export(MODERNBERT, "untied", {"head": UNTIED}),
    Export(MODERNBERT, "no_output_bias", {"head": {"bias": False}}, lossless=False),
    Export(MODERNBERT, "biases", {"encoder": {"bias": True}}),
    Export(MODERNBERT, "no_window", {"encoder": _NO_WINDOW}),
    Export(MODERNBERT, "silu", {"encoder": {"activation": "silu"}}),
    Export(
        MODERNBERT,
        "gelu_tanh-epsilon",
        {"encoder": {"activation": "gelu_tanh", "norm_epsilon": 1e-6}},
    ),
)

_PATTERN = ["full_attention", "sliding_attention", "full_attention", "sliding_attention"]
_BIASES = dict.fromkeys(("attention_bias", "mlp_bias", "norm_bias", "classifier_bias"), True)
_SILU = {"hidden_activation": "silu", "classifier_activation": "silu", "norm_eps": 1e-6}
_OLDER_KEYS = {
    "global_attn_every_n_layers": 2,
    "global_rope_theta": 500.0,
    "local_rope_theta": 90.0,
}
IMPORTS = (
    Import(
        MODERNBERT,
        recipe={"embedding": {"positions": 8192}, **TIED_HEAD},
    ),
    Import(
        MODERNBERT,
        "older_keys-untied",
        {**_OLDER_KEYS, **HF_UNTIED},
        recipe=UNTIED_HEAD,
    ),
    Import(
        MODERNBERT,
        "pattern-no_output_bias",
        {"num_hidden_layers": 4, "layer_types": _PATTERN, "decoder_bias": False},
    ),
    Import(MODERNBERT, "global", {"num_hidden_layers": 2, "layer_types": ["full_attention"] * 2}),
    Import(
        MODERNBERT,
        "silu-epsilon-biases",
        {**_SILU, **_BIASES},
    ),
)
SLOW_IMPORTS = (
    Import(MODERNBERT, "untied", HF_UNTIED),
    Import(MODERNBERT, "no_output_bias", {"decoder_bias": False}),
    Import(MODERNBERT, "older_keys", _OLDER_KEYS),
    Import(MODERNBERT, "pattern", {"num_hidden_layers": 4, "layer_types": _PATTERN}),
    Import(MODERNBERT, "silu", _SILU),
    Import(MODERNBERT, "biases", _BIASES),
)


def neighbours_turned_together(weights: Weights) -> None:
    """Rotary pairs as in GPT-J: neighbours instead of halves of a head."""
    name = "encoder_03.attention.qkv.weight"
    query, key, value = weights[name].chunk(3)
    size = _WIDTH // _HEADS
    order = torch.arange(size).view(2, -1).T.flatten()
    order = torch.cat([order + head * size for head in range(_HEADS)])
    weights[name] = torch.cat((query[order], key[order], value))


MISTAKES: dict[Family, tuple[Mistake, ...]] = {
    MODERNBERT: (
        mistakes.SEEN,
        mistakes.PADDING_SEEN,
        mistakes.DOUBLED_POSITIONS,
        option("encoder", activation="gelu_tanh"),
        option("encoder", norm_epsilon=1e-3),
        option("encoder", attention_scale=False),
        option("encoder", window=WINDOW - 2),
        option("encoder", window=WINDOW + 2),
        option("encoder", global_every=EVERY - 1),
        option("encoder", **_GLOBAL, rotary={"theta": 160000}),
        option("encoder", rotary=None),
        option("encoder", rotary={"theta": 160000}),
        option("encoder", rotary={"theta": 10000, "local_theta": 160000}),
        option("encoder", rotary={"theta": 150000, "local_theta": 10000}),
        mistakes.weights(neighbours_turned_together),
    ),
}
