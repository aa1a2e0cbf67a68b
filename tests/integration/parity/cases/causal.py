"""Causal language models: GPT, GPT-2 and LLaMA."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
)

from tests.integration.parity.cases import mistakes
from tests.integration.parity.cases.mistakes import Mistake, option
from tests.integration.parity.cases.models import (
    HF_UNTIED,
    UNTIED,
    Changes,
    Export,
    Family,
    Import,
    Weights,
)
from tests.support.causal_pairs import GROUPS, HEADS, LAYERS, WIDTH, causal_blocks

# The ids of a WordPiece vocabulary.
_IDS = {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
_GPT = {**_IDS, "n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 128}

GPT2 = Family(
    name="gpt2",
    hf_class=GPT2LMHeadModel,
    recipe=partial(causal_blocks, "gpt2"),
    config_class=GPT2Config,
    sizes=_GPT,
    last_norm="transformer.ln_f",
)
OPENAI_GPT = Family(
    name="openai_gpt",
    hf_class=OpenAIGPTLMHeadModel,
    recipe=partial(causal_blocks, "openai_gpt"),
    config_class=OpenAIGPTConfig,
    sizes=_GPT,
    last_norm="transformer.h.2.ln_2",
)
LLAMA = Family(
    name="llama",
    hf_class=LlamaForCausalLM,
    recipe=partial(causal_blocks, "llama"),
    config_class=LlamaConfig,
    sizes={
        **_IDS,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 256,
    },
    last_norm="model.norm",
)

# The first GPT has only eager attention in transformers.
_eager_gpt = partial(Export, OPENAI_GPT, attention="eager")

EXPORTS = (
    Export(GPT2),
    Export(
        GPT2,
        "relu-epsilon-untied",
        {"encoder": {"activation": "relu", "norm_epsilon": 1e-3}, "head": UNTIED},
        attention="eager",
    ),
    Export(
        GPT2,
        "gelu-unscaled",
        {"encoder": {"attention_scale": False, "activation": "gelu"}},
        weights_format="bin",
    ),
    _eager_gpt(),
    _eager_gpt(
        "silu-epsilon-untied",
        {"encoder": {"activation": "silu", "norm_epsilon": 1e-3}, "head": UNTIED},
        weights_format="bin",
    ),
    Export(LLAMA),
    Export(
        LLAMA,
        "ungrouped-epsilon-theta-tied",
        {
            "encoder": {
                "key_value_heads": None,
                "norm_epsilon": 1e-3,
                "rotary": {"theta": 10000},
            },
            "head": {"tied": True},
        },
        attention="eager",
    ),
    Export(
        LLAMA,
        "heads-biases-gelu_tanh",
        {
            "encoder": {
                "head_size": 24,
                "key_value_heads": 1,
                "bias": True,
                "activation": "gelu_tanh",
            }
        },
        weights_format="bin",
    ),
)
SLOW_EXPORTS = (
    Export(GPT2, "eager", attention="eager"),
    Export(GPT2, "untied", {"head": UNTIED}),
    Export(GPT2, "relu", {"encoder": {"activation": "relu", "norm_epsilon": 1e-3}}),
    Export(GPT2, "bin", weights_format="bin"),
    _eager_gpt("untied", {"head": UNTIED}),
    _eager_gpt("silu", {"encoder": {"activation": "silu", "norm_epsilon": 1e-3}}),
    _eager_gpt("bin", weights_format="bin"),
    Export(LLAMA, "eager", attention="eager"),
    Export(LLAMA, "bin", weights_format="bin"),
    Export(LLAMA, "tied", {"encoder": {"rotary": {"theta": 10000}}, "head": {"tied": True}}),
    Export(LLAMA, "ungrouped", {"encoder": {"key_value_heads": None, "norm_epsilon": 1e-3}}),
    Export(LLAMA, "heads", {"encoder": {"head_size": 24, "key_value_heads": 1}}),
    Export(LLAMA, "biases", {"encoder": {"bias": True, "activation": "gelu_tanh"}}),
)

_CAUSAL: Changes = {"objective": {"type": "lm"}, "encoder": {"visibility": "causal"}}


def _import(family: Family, name: str = "", config: Mapping[str, Any] | None = None) -> Import:
    return Import(family, name, config or {}, recipe=_CAUSAL)


IMPORTS = (
    _import(GPT2),
    _import(
        GPT2,
        "relu-epsilon-inner-untied",
        {
            "activation_function": "relu",
            "layer_norm_epsilon": 1e-3,
            "n_inner": 80,
            **HF_UNTIED,
        },
    ),
    _import(GPT2, "gelu-unscaled", {"activation_function": "gelu", "scale_attn_weights": False}),
    _import(OPENAI_GPT),
    _import(
        OPENAI_GPT,
        "relu-epsilon-untied",
        {"afn": "relu", "layer_norm_epsilon": 1e-3, **HF_UNTIED},
    ),
    _import(LLAMA),
    _import(
        LLAMA,
        "grouped-tied-epsilon",
        {"num_key_value_heads": 2, "tie_word_embeddings": True, "rms_norm_eps": 1e-3},
    ),
    _import(LLAMA, "heads-gelu", {"num_key_value_heads": 1, "head_dim": 32, "hidden_act": "gelu"}),
    _import(
        LLAMA,
        "theta-biases",
        {
            "rope_parameters": {"rope_type": "default", "rope_theta": 300.0},
            "attention_bias": True,
            "mlp_bias": True,
        },
    ),
)
SLOW_IMPORTS = (
    _import(GPT2, "untied", HF_UNTIED),
    _import(LLAMA, "theta", {"rope_parameters": {"rope_type": "default", "rope_theta": 300.0}}),
    _import(LLAMA, "biases", {"attention_bias": True, "mlp_bias": True}),
)

_LAST = f"encoder_{LAYERS - 1:02}.attention.qkv.weight"


def _query_key_value(weights: Weights) -> tuple[torch.Tensor, ...]:
    key_width = (len(weights[_LAST]) - WIDTH) // 2
    return weights[_LAST].split([WIDTH, key_width, key_width])


def queries_of_other_groups(weights: Weights) -> None:
    """Query heads are assigned to groups in turn, instead of neighbouring heads sharing one."""
    query, key, value = _query_key_value(weights)
    heads = query.view(HEADS // GROUPS, GROUPS, -1, WIDTH).transpose(0, 1)
    weights[_LAST] = torch.cat((heads.reshape(WIDTH, WIDTH), key, value))


def neighbours_turned_together(weights: Weights) -> None:
    """Rotary pairs as in GPT-J and LLaMA's own files: neighbours instead of halves of a head."""
    query, key, value = _query_key_value(weights)
    size = WIDTH // HEADS
    order = torch.arange(size).view(2, -1).T.flatten()
    turned = [
        torch.cat([part[order + first] for first in range(0, len(part), size)])
        for part in (query, key)
    ]
    weights[_LAST] = torch.cat((*turned, value))


_OPTIONS = (
    mistakes.SEEN,
    option("encoder", norm_epsilon=1e-3),
    option("encoder", attention_scale=False),
    option("encoder", activation="gelu"),
)
MISTAKES: dict[Family, tuple[Mistake, ...]] = {
    GPT2: (*_OPTIONS, mistakes.SHIFTED_POSITIONS, option("encoder", window=8)),
    OPENAI_GPT: (*_OPTIONS, mistakes.SHIFTED_POSITIONS),
    LLAMA: (
        *_OPTIONS,
        mistakes.DOUBLED_POSITIONS,
        option("encoder", rotary={"theta": 450.0}),
        option("encoder", rotary=None),
        option("encoder", norm="layer"),
        mistakes.weights(queries_of_other_groups),
        mistakes.weights(neighbours_turned_together),
    ),
}
