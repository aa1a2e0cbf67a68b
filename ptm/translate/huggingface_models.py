"""Configurations that transformers publishes: the defaults of a model type, and Hub models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Config = Mapping[str, Any]


def _bert_like(layers: int, hidden: int, heads: int, **others: Any) -> Config:
    return {
        "model_type": "bert",
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "intermediate_size": 4 * hidden,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        **others,
    }


def _roberta(layers: int, hidden: int, heads: int, model_type: str = "roberta") -> Config:
    """As in the published models; `RobertaConfig()` has other positions, segments and epsilon."""
    return {
        **_bert_like(layers, hidden, heads),
        "model_type": model_type,
        "max_position_embeddings": 514,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
    }


def _gpt2(layers: int, hidden: int, heads: int) -> Config:
    return {
        "model_type": "gpt2",
        "n_layer": layers,
        "n_embd": hidden,
        "n_head": heads,
        "n_positions": 1024,
    }


def _distilbert() -> Config:
    return {
        "model_type": "distilbert",
        "n_layers": 6,
        "dim": 768,
        "n_heads": 12,
        "hidden_dim": 3072,
        "max_position_embeddings": 512,
    }


def _albert(layers: int, hidden: int, heads: int, dropout: float = 0.0, **others: Any) -> Config:
    return {
        **_bert_like(layers, hidden, heads, model_type="albert", embedding_size=128),
        "hidden_act": "gelu_new",
        "num_hidden_groups": 1,
        "inner_group_num": 1,
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
        **others,
    }


def _t5(layers: int, hidden: int, heads: int, feed_forward: int, **others: Any) -> Config:
    return {
        "model_type": "t5",
        "num_layers": layers,
        "d_model": hidden,
        "num_heads": heads,
        "d_ff": feed_forward,
        "d_kv": 64,
        "feed_forward_proj": "relu",
        **others,
    }


_T5_V1_1: Config = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
_MT5: Config = {**_T5_V1_1, "model_type": "mt5"}
_ERNIE: Config = {"model_type": "ernie", "hidden_act": "relu", "max_position_embeddings": 513}

OF_TYPE: Mapping[str, Config] = {
    "bert": _bert_like(12, 768, 12),
    "roberta": _bert_like(12, 768, 12, model_type="roberta"),
    "xlm-roberta": _bert_like(12, 768, 12, model_type="xlm-roberta"),
    "distilbert": _distilbert(),
    "albert": _albert(12, 4096, 64),
    "gpt2": _gpt2(12, 768, 12),
    "t5": _t5(6, 512, 8, 2048),
}
"""Model type to the sizes of its configuration class without arguments."""

_MODELS: Mapping[str, Config] = {
    **dict.fromkeys(
        (
            *("bert-base-uncased", "bert-base-cased", "bert-base-chinese"),
            *("bert-base-multilingual-cased", "bert-base-multilingual-uncased"),
            *("hfl/chinese-roberta-wwm-ext", "hfl/chinese-bert-wwm", "hfl/chinese-bert-wwm-ext"),
            "uer/roberta-base-word-chinese-cluecorpussmall",
        ),
        _bert_like(12, 768, 12),
    ),
    **dict.fromkeys(
        ("bert-large-uncased", "bert-large-cased", "hfl/chinese-roberta-wwm-ext-large"),
        _bert_like(24, 1024, 16),
    ),
    "hfl/rbt3": _bert_like(3, 768, 12),
    "hfl/rbtl3": _bert_like(3, 1024, 16),
    **{
        f"uer/chinese_roberta_L-{layers}_H-{hidden}": _bert_like(layers, hidden, hidden // 64)
        for layers in (2, 4, 6, 8, 10, 12)
        for hidden in (128, 256, 512, 768)
    },
    "nghuyong/ernie-1.0-base-zh": _bert_like(12, 768, 12, **_ERNIE),
    "nghuyong/ernie-1.0": _bert_like(12, 768, 12, **_ERNIE),
    "roberta-base": _roberta(12, 768, 12),
    "roberta-large": _roberta(24, 1024, 16),
    "distilroberta-base": _roberta(6, 768, 12),
    "xlm-roberta-base": _roberta(12, 768, 12, model_type="xlm-roberta"),
    "xlm-roberta-large": _roberta(24, 1024, 16, model_type="xlm-roberta"),
    **dict.fromkeys(
        (
            *("distilbert-base-uncased", "distilbert-base-cased"),
            "distilbert-base-multilingual-cased",
        ),
        _distilbert(),
    ),
    "albert-base-v2": _albert(12, 768, 12),
    "albert-large-v2": _albert(24, 1024, 16),
    "albert-xlarge-v2": _albert(24, 2048, 16),
    "albert-xxlarge-v2": _albert(12, 4096, 64),
    "gpt2": _gpt2(12, 768, 12),
    "gpt2-medium": _gpt2(24, 1024, 16),
    "gpt2-large": _gpt2(36, 1280, 20),
    "gpt2-xl": _gpt2(48, 1600, 25),
    "distilgpt2": _gpt2(6, 768, 12),
    "uer/gpt2-chinese-cluecorpussmall": _gpt2(12, 768, 12),
    "t5-small": _t5(6, 512, 8, 2048),
    "t5-base": _t5(12, 768, 12, 3072),
    "t5-large": _t5(24, 1024, 16, 4096),
    "google/t5-v1_1-small": _t5(8, 512, 6, 1024, **_T5_V1_1),
    "google/t5-v1_1-base": _t5(12, 768, 12, 2048, **_T5_V1_1),
    "google/t5-v1_1-large": _t5(24, 1024, 16, 2816, **_T5_V1_1),
    "google/mt5-small": _t5(8, 512, 6, 1024, **_MT5),
    "google/mt5-base": _t5(12, 768, 12, 2048, **_MT5),
    "google/mt5-large": _t5(24, 1024, 16, 2816, **_MT5),
}
_OWNERS = (
    "google-bert/",
    "FacebookAI/",
    "openai-community/",
    "distilbert/",
    "google-t5/",
    "albert/",
)
"""Owners of the models that the Hub first had without an owner."""


def published_config(name: str) -> Config | None:
    """The configuration of a Hub model; None if it is not one of the well-known models."""
    owner = next((one for one in _OWNERS if name.startswith(one)), "")
    return _MODELS.get(name.removeprefix(owner))
