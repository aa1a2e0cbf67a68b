"""State dicts of UER-py's T5, BART and PEGASUS, made from the parameters its modules declare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

State = dict[str, Tensor]
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
}


class _Shapes:
    """Names and shapes that its modules declare: `layers/transformer.py` and others."""

    def __init__(self, config: Mapping[str, Any], words: int) -> None:
        self.config = config
        self.found: dict[str, tuple[int, ...]] = {}
        self.width = config["hidden_size"]
        self.biased = not config.get("remove_transformer_bias")
        for side, prefix, layers in (
            ("embedding", "encoder.transformer", "layers_num"),
            ("tgt_embedding", "decoder.transformer_decoder", "decoder_layers_num"),
        ):
            self._embedding(side, words)
            for index in range(config[layers]):
                self._layer(f"{prefix}.{index}", crosses=side == "tgt_embedding")
            stack = prefix.partition(".")[0]
            if config.get("layernorm_positioning") == "pre":
                self._norm(f"{stack}.layer_norm")
            if config.get("relative_position_embedding"):
                bias = "relative_pos_emb" if stack == "encoder" else "self_pos_emb"
                name = f"{stack}.{bias}.relative_attention_bias.weight"
                self.found[name] = (32, config["heads_num"])
        self.found["target.lm.output_layer.weight"] = (words, self.width)
        if config.get("has_lmtarget_bias"):
            self.found["target.lm.output_layer.bias"] = (words,)

    def _embedding(self, side: str, words: int) -> None:
        self.found[f"{side}.word.embedding.weight"] = (words, self.width)
        if "pos" in self.config["embedding"]:
            shape = (self.config["max_seq_length"], self.width)
            self.found[f"{side}.pos.embedding.weight"] = shape
        if not self.config.get("remove_embedding_layernorm"):
            self._norm(f"{side}.layer_norm")

    def _norm(self, name: str) -> None:
        kinds = ("weight",) if self.config.get("layernorm") == "t5" else ("gamma", "beta")
        self.found |= {f"{name}.{kind}": (self.width,) for kind in kinds}

    def _linear(self, name: str, outputs: int, inputs: int) -> None:
        self.found[f"{name}.weight"] = (outputs, inputs)
        if self.biased:
            self.found[f"{name}.bias"] = (outputs,)

    def _layer(self, name: str, *, crosses: bool) -> None:
        heads = self.config["heads_num"]
        inside = heads * self.config.get("attention_head_size", self.width // heads)
        for attention in ("self_attn", "context_attn") if crosses else ("self_attn",):
            for part in range(3):
                self._linear(f"{name}.{attention}.linear_layers.{part}", inside, self.width)
            self._linear(f"{name}.{attention}.final_linear", self.width, inside)
        gated = self.config.get("feed_forward") == "gated"
        inner = self.config["feedforward_size"]
        for up in ("linear_gate", "linear_1") if gated else ("linear_1",):
            self._linear(f"{name}.feed_forward.{up}", inner, self.width)
        self._linear(f"{name}.feed_forward.linear_2", self.width, inner)
        for number in (1, 2, 3) if crosses else (1, 2):
            self._norm(f"{name}.layer_norm_{number}")


def random_state(config: Mapping[str, Any], words: int) -> State:
    """Random tensors by name; tables that are shared or tied are one tensor under several names."""
    generator = torch.Generator().manual_seed(3)
    state = {
        name: torch.randn(shape, generator=generator)
        for name, shape in _Shapes(config, words).found.items()
    }
    table = state["embedding.word.embedding.weight"]
    state["tgt_embedding.word.embedding.weight"] = table
    if config.get("tie_weights"):
        state["target.lm.output_layer.weight"] = table
    return state
