"""Recipes of small causal language models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.bert_pairs import POSITIONS

LAYERS, WIDTH, HEADS = 3, 64, 4
GROUPS = 2
"""Number of key-value heads of the LLaMA."""

_SIZES = {"type": "transformer", "visibility": "causal", "layers": LAYERS, "hidden_size": WIDTH}
_TABLES = {"parts": ["word", "position"], "layer_norm": False, "positions": POSITIONS}
EMBEDDINGS: Mapping[str, Mapping[str, Any]] = {
    "gpt2": _TABLES,
    "openai_gpt": _TABLES,
    "llama": {"parts": ["word"], "layer_norm": False, "positions": POSITIONS},
}
ENCODERS: Mapping[str, Mapping[str, Any]] = {
    "gpt2": {
        **_SIZES,
        "heads": HEADS,
        "feed_forward_size": 96,
        "activation": "gelu_tanh",
        "norm_position": "pre",
        "norm_epsilon": 1e-5,
    },
    "openai_gpt": {
        **_SIZES,
        "heads": HEADS,
        "feed_forward_size": 4 * WIDTH,
        "activation": "gelu_tanh",
        "norm_epsilon": 1e-5,
    },
    "llama": {
        **_SIZES,
        "heads": HEADS,
        "key_value_heads": GROUPS,
        "feed_forward_size": 96,
        "feed_forward": "gated",
        "activation": "silu",
        "norm": "rms",
        "norm_position": "pre",
        "norm_epsilon": 1e-6,
        "bias": False,
        "rotary": {"theta": 500.0},
    },
}


def causal_blocks(
    family: str, vocab: Path, *, tied: bool | None = None, **changes: Any
) -> dict[str, Any]:
    """Recipe blocks of a small model of `family`; `changes` override keys of its encoder.

    By default the weights of output and embedding are tied, except for LLaMA.
    """
    tied = family != "llama" if tied is None else tied
    return {
        "tokenizer": {"type": "wordpiece", "vocab": str(vocab)},
        "model": {
            "dropout": 0.0,
            "embedding": dict(EMBEDDINGS[family]),
            "encoder": {**ENCODERS[family], **changes},
        },
        "objective": {"type": "lm", "head": {"tied": tied}},
    }
