"""State dicts of UER-py and TencentPretrain, made from the parameters their modules declare.

Names and shapes are those of their `nn.Module`s (`embeddings/`, `layers/`,
`encoders/transformer_encoder.py`, `targets/`), independent of the code under test.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ptm.interop.import_model import import_from_uer
from ptm.interop.sources.base import ModelSource
from ptm.interop.sources.open import open_source

State = dict[str, Tensor]

SIZES: dict[str, Any] = {
    "emb_size": 24,
    "feedforward_size": 40,
    "hidden_size": 24,
    "hidden_act": "gelu",
    "heads_num": 2,
    "layers_num": 2,
    "max_seq_length": 30,
    "dropout": 0.1,
}
_PLAIN = {"embedding": ["word", "pos", "seg"], "encoder": "transformer", "mask": "fully_visible"}

# The JSON files of their models/ folders, with small sizes.
CONFIGS: dict[str, dict[str, Any]] = {
    "bert": {
        **SIZES,
        "data_processor": "bert",
        **_PLAIN,
        "target": ["mlm", "sp"],
        "tie_weights": True,
    },
    "mlm": {**SIZES, "data_processor": "mlm", **_PLAIN, "target": ["mlm"], "tie_weights": True},
    "albert": {
        **SIZES,
        "emb_size": 8,
        "hidden_act": "relu",
        "dropout": 0.0,
        "data_processor": "albert",
        **_PLAIN,
        "factorized_embedding_parameterization": True,
        "parameter_sharing": True,
        "target": ["mlm", "sp"],
    },
    "xlm_roberta": {
        **SIZES,
        "max_seq_length": 34,
        "data_processor": "mlm",
        **_PLAIN,
        "target": ["mlm"],
    },
}
PAIRS = ("bert", "albert")

# models/gpt2/config.json, and the options of their command lines for GPT.
NEXT_CONFIGS: dict[str, dict[str, Any]] = {
    "gpt2": {
        **SIZES,
        "hidden_act": "gelu_fast",
        "data_processor": "lm",
        "embedding": ["word", "pos"],
        "remove_embedding_layernorm": True,
        "encoder": "transformer",
        "mask": "causal",
        "layernorm_positioning": "pre",
        "target": ["lm"],
        "tie_weights": True,
    },
    "gpt": {
        **SIZES,
        "data_processor": "lm",
        "embedding": ["word", "pos"],
        "encoder": "transformer",
        "mask": "causal",
        "target": ["lm"],
        "tie_weights": False,
    },
    "biased": {
        **SIZES,
        "data_processor": "lm",
        "embedding": ["word", "pos"],
        "encoder": "transformer",
        "mask": "causal",
        "target": ["lm"],
        "has_lmtarget_bias": True,
        "tie_weights": True,
    },
}


def _linear(name: str, outputs: int, inputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.gamma": (width,), f"{name}.beta": (width,)}


def _layer(name: str, hidden: int, inner: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for part in range(3):
        shapes |= _linear(f"{name}.self_attn.linear_layers.{part}", hidden, hidden)
    shapes |= _linear(f"{name}.self_attn.final_linear", hidden, hidden)
    shapes |= _linear(f"{name}.feed_forward.linear_1", inner, hidden)
    shapes |= _linear(f"{name}.feed_forward.linear_2", hidden, inner)
    return {
        **shapes,
        **_norm(f"{name}.layer_norm_1", hidden),
        **_norm(f"{name}.layer_norm_2", hidden),
    }


def shapes_of(config: Mapping[str, Any], words: int) -> dict[str, tuple[int, ...]]:
    """Name -> shape of each tensor of `Model(args, …).state_dict()`."""
    width, hidden, inner = (config[k] for k in ("emb_size", "hidden_size", "feedforward_size"))
    shapes: dict[str, tuple[int, ...]] = {
        "embedding.word.embedding.weight": (words, width),
        "embedding.pos.embedding.weight": (config["max_seq_length"], width),
    }
    if "seg" in config["embedding"]:
        shapes["embedding.seg.embedding.weight"] = (3, width)
    if not config.get("remove_embedding_layernorm"):
        shapes |= _norm("embedding.layer_norm", width)
    if config.get("factorized_embedding_parameterization"):
        shapes |= _linear("encoder.linear", hidden, width)
    if config.get("parameter_sharing"):
        shapes |= _layer("encoder.transformer", hidden, inner)
    else:
        for index in range(config["layers_num"]):
            shapes |= _layer(f"encoder.transformer.{index}", hidden, inner)
    if config.get("layernorm_positioning") == "pre":
        shapes |= _norm("encoder.layer_norm", hidden)
    if "lm" in config["target"]:
        shapes["target.lm.output_layer.weight"] = (words, hidden)
        if config.get("has_lmtarget_bias"):
            shapes["target.lm.output_layer.bias"] = (words,)
        return shapes
    shapes |= _linear("target.mlm.linear_1", width, hidden)
    shapes |= _norm("target.mlm.layer_norm", width)
    shapes |= _linear("target.mlm.linear_2", words, width)
    if "sp" in config["target"]:
        shapes |= _linear("target.sp.linear_1", hidden, hidden)
        shapes |= _linear("target.sp.linear_2", 2, hidden)
    return shapes


def random_state(config: Mapping[str, Any], words: int) -> State:
    """Random tensors of these shapes; with `tie_weights`, the output matrix is the embedding."""
    generator = torch.Generator().manual_seed(3)
    state = {
        name: torch.randn(shape, generator=generator)
        for name, shape in shapes_of(config, words).items()
    }
    if config.get("tie_weights"):
        output = "lm.output_layer" if "lm" in config["target"] else "mlm.linear_2"
        state[f"target.{output}.weight"] = state["embedding.word.embedding.weight"]
    return state


def old_names(state: State, *, pair: str) -> State:
    """The state dict with UER-py's names until 2022; `pair`: nsp, sop or sp."""
    renamed = {}
    for name, tensor in state.items():
        for new, old in (
            ("embedding.word.embedding", "embedding.word_embedding"),
            ("embedding.pos.embedding", "embedding.position_embedding"),
            ("embedding.seg.embedding", "embedding.segment_embedding"),
            ("target.mlm.layer_norm", "target.layer_norm"),
            ("target.mlm.", "target.mlm_"),
            ("target.lm.output_layer", "target.output_layer"),
            ("target.sp.", f"target.{pair}_"),
        ):
            if name.startswith(new):
                name = old + name.removeprefix(new)
                break
        renamed[name] = tensor
    return renamed


def write_checkpoint(
    folder: Path, config: Mapping[str, Any], state: Mapping[str, Any], vocab: Path
) -> Path:
    """Write `state` as .bin, with config.json and vocab.txt beside it; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / "model.bin")
    (folder / "config.json").write_text(json.dumps(config))
    shutil.copyfile(vocab, folder / "vocab.txt")
    return folder / "model.bin"


def import_uer(path: Path, out: Path) -> ModelSource:
    """Import a checkpoint with config and vocabulary beside it, as `ptm import` does."""
    import_from_uer(str(path), out, config=None, vocab=None)
    return open_source(str(out))
