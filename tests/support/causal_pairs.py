"""The families that predict the next token: a recipe of each, and transformers' random models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from ptm.nn.init import norm_parameters
from tests.support.bert_pairs import (
    LARGEST_LOGIT,
    POSITIONS,
    Pair,
    hf_logits_alone,
    make_pair,
    random_value,
)

LAYERS, WIDTH, HEADS = 3, 64, 4
GROUPS = 2
"""Heads of LLaMA's keys and values."""

_SIZES = {"type": "transformer", "visibility": "causal", "layers": LAYERS, "hidden_size": WIDTH}
_TABLES = {"of": ["word", "position"], "layer_norm": False, "positions": POSITIONS}
EMBEDDINGS: Mapping[str, Mapping[str, Any]] = {
    "gpt2": _TABLES,
    "openai_gpt": _TABLES,
    "llama": {"of": ["word"], "layer_norm": False, "positions": POSITIONS},
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
LAST_NORM = {
    "gpt2": "encoder_norm",
    "openai_gpt": f"encoder_{LAYERS - 1:02}.feed_forward_norm",
    "llama": "encoder_norm",
}
"""What the logits are proportional to."""


def causal_blocks(
    family: str, vocab: Path, *, tied: bool | None = None, **changes: Any
) -> dict[str, Any]:
    """The blocks of a recipe of `family`; `changes`: of its encoder. A LLaMA is not tied."""
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


def causal_pair(
    folder: Path, family: str, vocab: Path, texts: Sequence[str], **changes: Any
) -> Pair:
    """A random model of `family`, here and as transformers loads its export."""
    # Of the first GPT there is no other.
    attention = changes.pop("attention", "eager" if family == "openai_gpt" else "sdpa")
    blocks = causal_blocks(family, vocab, **changes)
    last = [f"{LAST_NORM[family]}.{kind}" for kind in ("weight", "bias")]
    return make_pair(folder, blocks, texts, attention=attention, head=last)


def random_causal(model: nn.Module, examples: list[Tensor], *, last_norm: str) -> nn.Module:
    """`model` with random weights everywhere; its last norm makes the largest logit 5."""
    model = model.eval()
    norms = set(norm_parameters(model)) | {
        name for name, _ in model.named_parameters() if "norm" in name
    }
    transposed = {f"{n}.weight" for n, m in model.named_modules() if isinstance(m, Conv1D)}
    with torch.no_grad():
        for seed, (name, parameter) in enumerate(model.named_parameters()):
            shape = parameter.shape[::-1] if name in transposed else parameter.shape
            value = random_value(
                shape,
                is_norm=name in norms and name.endswith("weight"),
                is_table=any(part in name for part in ("embed", "wte", "wpe")),
                seed=seed,
            )
            parameter.copy_(value.T if name in transposed else value)
        factor = LARGEST_LOGIT / hf_logits_alone(model, examples).abs().max()
        for part in model.get_submodule(last_norm).parameters():
            part.mul_(factor)
    return model
