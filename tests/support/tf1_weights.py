"""Variables of tiny BERT and ALBERT models under Google's names, the same values on every call.

The fixtures in `tests/fixtures/tf1` were written from them by TensorFlow, and tests build
transformers' models from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Variables = dict[str, NDArray[np.float32]]

TOKENS = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *"abcdefghijklmnopqrst",
    *(f"##{letter}" for letter in "abcdefghij"),
    *"天地玄黄宇宙洪荒日月",
)
"""The vocabulary of both models, a vocab.txt."""

_SHARED: Mapping[str, Any] = {
    "attention_probs_dropout_prob": 0.0,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "hidden_size": 16,
    "initializer_range": 0.02,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "type_vocab_size": 2,
    "vocab_size": len(TOKENS),
}
BERT_CONFIG: Mapping[str, Any] = {**_SHARED, "directionality": "bidi", "pooler_fc_size": 768}
ALBERT_CONFIG: Mapping[str, Any] = {
    **_SHARED,
    "embedding_size": 8,
    "num_hidden_layers": 3,
    "num_hidden_groups": 1,
    "inner_group_num": 1,
    "down_scale_factor": 1,
    "net_structure_type": 0,
    "gap_size": 0,
    "num_memory_blocks": 0,
}


def bert_variables() -> Variables:
    """The variables that Google's BERT saves after pretraining, without optimizer state."""
    width, wide = BERT_CONFIG["hidden_size"], BERT_CONFIG["intermediate_size"]
    shapes = _embeddings(width)
    for index in range(BERT_CONFIG["num_hidden_layers"]):
        layer = f"bert/encoder/layer_{index}"
        for part in ("query", "key", "value"):
            shapes |= _dense(f"{layer}/attention/self/{part}", width, width)
        shapes |= _dense(f"{layer}/attention/output/dense", width, width)
        shapes |= _norm(f"{layer}/attention/output/LayerNorm", width)
        shapes |= _dense(f"{layer}/intermediate/dense", width, wide)
        shapes |= _dense(f"{layer}/output/dense", wide, width)
        shapes |= _norm(f"{layer}/output/LayerNorm", width)
    return _values(shapes | _heads(width, width))


def albert_variables() -> Variables:
    """The variables that Google's ALBERT saves after pretraining, without optimizer state."""
    narrow, width = ALBERT_CONFIG["embedding_size"], ALBERT_CONFIG["hidden_size"]
    wide = ALBERT_CONFIG["intermediate_size"]
    layer = "bert/encoder/transformer/group_0/inner_group_0"
    shapes = _embeddings(narrow)
    shapes |= _dense("bert/encoder/embedding_hidden_mapping_in", narrow, width)
    for part in ("query", "key", "value"):
        shapes |= _dense(f"{layer}/attention_1/self/{part}", width, width)
    shapes |= _dense(f"{layer}/attention_1/output/dense", width, width)
    shapes |= _norm(f"{layer}/LayerNorm", width)
    shapes |= _dense(f"{layer}/ffn_1/intermediate/dense", width, wide)
    shapes |= _dense(f"{layer}/ffn_1/intermediate/output/dense", wide, width)
    shapes |= _norm(f"{layer}/LayerNorm_1", width)
    return _values(shapes | _heads(width, narrow))


def _embeddings(width: int) -> dict[str, tuple[int, ...]]:
    rows = {
        "word": len(TOKENS),
        "position": _SHARED["max_position_embeddings"],
        "token_type": _SHARED["type_vocab_size"],
    }
    tables = {f"bert/embeddings/{name}_embeddings": (count, width) for name, count in rows.items()}
    return tables | _norm("bert/embeddings/LayerNorm", width)


def _heads(width: int, narrow: int) -> dict[str, tuple[int, ...]]:
    return {
        **_dense("bert/pooler/dense", width, width),
        **_dense("cls/predictions/transform/dense", width, narrow),
        **_norm("cls/predictions/transform/LayerNorm", narrow),
        "cls/predictions/output_bias": (len(TOKENS),),
        "cls/seq_relationship/output_weights": (2, width),
        "cls/seq_relationship/output_bias": (2,),
    }


def _dense(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}/kernel": (inputs, outputs), f"{name}/bias": (outputs,)}


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}/gamma": (width,), f"{name}/beta": (width,)}


def _values(shapes: Mapping[str, tuple[int, ...]]) -> Variables:
    """Values for every shape; the old generator gives the same numbers in all numpy versions."""
    generator = np.random.RandomState(2018)
    return {
        name: (generator.standard_normal(shape) * 0.3 + name.endswith("gamma")).astype(np.float32)
        for name, shape in shapes.items()
    }
