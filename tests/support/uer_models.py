"""Configs of UER-py's encoders, their older tensor names, and checkpoints as files."""

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
from tests.support.uer_modules import State

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
    "prefixlm": {
        **SIZES,
        "data_processor": "prefixlm",
        **_PLAIN,
        "mask": "causal_with_prefix",
        "target": ["lm"],
        "tie_weights": True,
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
    """Write `state` as .bin, with config.json and vocab.txt beside it; returns its path.

    A translation model has the same vocabulary for its target.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / "model.bin")
    (folder / "config.json").write_text(json.dumps(config))
    shutil.copyfile(vocab, folder / "vocab.txt")
    if config.get("data_processor") == "mt":
        (folder / "target_tokenizer").mkdir()
        shutil.copyfile(vocab, folder / "target_tokenizer" / "vocab.txt")
    return folder / "model.bin"


def import_uer(path: Path, out: Path) -> ModelSource:
    """Import a checkpoint with config and vocabulary beside it, as `ptm import` does."""
    import_from_uer(str(path), out, config=None, vocab=None)
    return open_source(str(out))


def assert_same_tensors(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Check that the tensors are the same; weights of norms were multiplied and divided."""
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        if name.endswith("gamma") or "norm" in name:
            torch.testing.assert_close(found[name], tensor, rtol=1e-6, atol=0)
        else:
            assert torch.equal(found[name], tensor), name
