"""Configs of UER-py's recurrent and convolutional models, and their outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tests.support.uer_encoders import RECURRENT
from tests.support.uer_modules import State, loaded

LABELS = 3
_SIZES: dict[str, Any] = {
    "emb_size": 12,
    "hidden_size": 16,
    "layers_num": 3,
    "max_seq_length": 64,
    "dropout": 0.1,
    "embedding": ["word"],
    "remove_embedding_layernorm": True,
}


def config_of(encoder: str, *, target: str = "lm", **options: Any) -> dict[str, Any]:
    """A config as in UER-py's models/rnn and models/cnn, with small sizes."""
    convolution = {"kernel_size": 4, "block_size": 2} if encoder == "gatedcnn" else {}
    both = {"bidirectional": True} if encoder in RECURRENT else {}
    masked = {**both, "factorized_embedding_parameterization": True}
    return {
        **_SIZES,
        **convolution,
        **(masked if target in ("mlm", "bert") else {}),
        **({"labels_num": LABELS, "pooling": "max"} if target == "cls" else {}),
        "data_processor": target,
        "encoder": encoder,
        "target": ["mlm", "sp"] if target == "bert" else [target],
        **options,
    }


def fine_tuned(state: State) -> State:
    """The state dict of a classifier as UER-py's run_classifier.py names it."""
    return {
        name.replace("target.cls.linear_", "output_layer_"): tensor
        for name, tensor in state.items()
    }


def logits_of(config: Mapping[str, Any], state: State, ids: Tensor) -> dict[str, Tensor]:
    """The outputs of UER-py's model for ids (B, T)."""
    with torch.no_grad():
        found: dict[str, Tensor] = loaded(config, state)(ids)
    return found
