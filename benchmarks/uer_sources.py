"""Compare the second implementation of UER-py's models, which tests use, with UER-py's own code.

    cd UER-py && python PTM/benchmarks/uer_sources.py uer
    cd TencentPretrain && python PTM/benchmarks/uer_sources.py tencentpretrain

Run it in a checkout of the tool, whose modules read files of its folder, with the folder of ptm on
PYTHONPATH. It builds each model by the tool's own `build_model` with random weights and prints the
largest difference of the logits, relative to the largest logit.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from argparse import Namespace
from typing import Any

import torch
from torch import Tensor

from tests.support import uer_decoder_models, uer_models
from tests.support.uer_encoders import RECURRENT, TWO_STREAMS
from tests.support.uer_modules import loaded, random_state
from tests.support.uer_recurrent_models import config_of

WORDS = 100
DEFAULTS: dict[str, Any] = {
    "relative_position_embedding": False,
    "rotary_position_embedding": False,
    "share_embedding": False,
    "remove_embedding_layernorm": False,
    "factorized_embedding_parameterization": False,
    "decoder": None,
    "mask": "fully_visible",
    "layernorm_positioning": "post",
    "feed_forward": "dense",
    "relative_attention_buckets_num": 32,
    "remove_attention_scale": False,
    "remove_transformer_bias": False,
    "layernorm": "normal",
    "layernorm_eps": 1e-6,
    "bidirectional": False,
    "parameter_sharing": False,
    "has_residual_attention": False,
    "has_lmtarget_bias": False,
    "tie_weights": False,
    "prefix_lm_loss": False,
    "max_seq_length": 512,
    "hidden_act": "gelu",
}
"""Values of options that a config does not give."""


def configs(*, tencent: bool) -> dict[str, dict[str, Any]]:
    """Small models of every kind."""
    found = {**uer_models.CONFIGS, **uer_models.NEXT_CONFIGS, **uer_decoder_models.CONFIGS}
    found |= {f"{name}-lm": config_of(name) for name in (*RECURRENT, "gatedcnn")}
    found |= {f"{name}-bilm": config_of(name, target="bilm") for name in TWO_STREAMS}
    found["realformer"] = {**found["mlm"], "has_residual_attention": True}
    found["t5-scaled"] = {**found["t5"], "remove_attention_scale": False}
    if tencent:
        found["llama"] = {
            **found["gpt2"],
            "embedding": ["word"],
            "rotary_position_embedding": True,
            "remove_transformer_bias": True,
            "feed_forward": "gated",
            "layernorm": "rms",
            "layernorm_eps": 1e-5,
            "hidden_act": "silu",
            "local_kv_heads_num": 1,
            "tie_weights": False,
        }
    return found


def logits(model: Any, config: dict[str, Any], ids: Tensor, seg: Tensor, target: Tensor) -> Tensor:
    """The logits of the tool's model (forward ones, if there are two streams)."""
    hidden = model.encoder(model.embedding(ids, seg), seg)
    if model.decoder is not None:
        target_seg = torch.ones_like(target)
        hidden = model.decoder(hidden, model.tgt_embedding(target, target_seg), (seg, target_seg))
    if "mlm" in config["target"]:
        head = model.target.mlm
        found = head.linear_2(head.layer_norm(head.act(head.linear_1(hidden))))
    elif "bilm" in config["target"]:
        found = model.target.bilm.output_layer(hidden[..., : hidden.shape[-1] // 2])
    else:
        found = model.target.lm.output_layer(hidden)
    assert isinstance(found, Tensor), "the head returned no tensor"
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("package", choices=("uer", "tencentpretrain"))
    package = parser.parse_args().package
    sys.path.insert(0, ".")
    build_model = importlib.import_module(f"{package}.model_builder").build_model
    tencent = package == "tencentpretrain"
    tokenizer = Namespace(vocab={"[PAD]": 0, **{str(index): index for index in range(1, WORDS)}})
    torch.manual_seed(0)
    for name, config in configs(tencent=tencent).items():
        args = {**DEFAULTS, **config, "tokenizer": tokenizer, "tgt_tokenizer": tokenizer}
        theirs = build_model(Namespace(**args)).eval()
        state = random_state(config, WORDS, tencent=tencent)
        assert theirs.state_dict().keys() == state.keys(), f"{name}: other tensors"
        theirs.load_state_dict(state)
        ids, target = torch.randint(5, WORDS, (1, 11)), torch.randint(5, WORDS, (1, 9))
        seg = torch.tensor([[1] * 6 + [2] * 5])
        with torch.no_grad():
            decodes = theirs.decoder is not None
            if decodes:
                seg = torch.ones_like(seg)
            expected = logits(theirs, config, ids, seg, target)
            outputs = loaded(config, state, tencent=tencent)(ids, seg, target if decodes else None)
        found = outputs["forward" if "bilm" in config["target"] else "logits"]
        print(f"{name:16}{float((found - expected).abs().max() / expected.abs().max()):.1e}")


if __name__ == "__main__":
    main()
