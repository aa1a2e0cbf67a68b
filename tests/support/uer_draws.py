"""Recipes and configs of UER-py with random options, which UER-py or ptm may lack."""

from __future__ import annotations

import random
from typing import Any

from tests.support.uer_encoders import RECURRENT, TWO_STREAMS

WORDS = 120
"""Entries of the vocabulary."""
Blocks = dict[str, Any]


class Draw:
    """Random values."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def one(self, *values: Any) -> Any:
        """One of the values."""
        return self.random.choice(values)

    def chance(self, share: float) -> bool:
        """True in this share of the calls."""
        return self.random.random() < share

    def some(self, **options: tuple[float, Any]) -> Blocks:
        """Each key with its value, with the given probability."""
        return {key: value for key, (share, value) in options.items() if self.chance(share)}


def _stack(draw: Draw, width: int) -> Blocks:
    norm = draw.one("layer", "layer", "rms")
    layers = {"layer": draw.one(*[1e-7] * 8, 1e-12, 1e-5), "rms": draw.one(1e-6, 1e-6, 1e-5)}
    return {
        "type": "transformer",
        "hidden_size": width,
        "layers": draw.one(1, 2, 3),
        "heads": draw.one(2, 4),
        "feed_forward_size": 2 * width,
        "feed_forward": draw.one("dense", "gated"),
        "activation": draw.one("gelu", "gelu_tanh", "relu", "silu"),
        "norm": norm,
        "norm_position": draw.one("post", "pre"),
        "norm_epsilon": layers[norm],
        "bias": not draw.chance(0.5 if norm == "rms" else 0.05),
        **draw.some(
            head_size=(0.1, 8),
            attention_scale=(0.2, False),
            position_bias=(0.2, {"buckets": draw.one(8, 32), "max_distance": 128}),
            key_value_heads=(0.05, 2),
        ),
    }


def _embedding(draw: Draw, width: int) -> Blocks:
    places = draw.one(["position"], ["position"], ["position"], ["sinusoidal"], [])
    parts = ["word", *places, *(["segment"] if draw.chance(0.4) else [])]
    offset = draw.one(0, 0, 2) if "position" in parts else 0
    waves = {"scaled": True, "sinusoidal_order": "uer"} if "sinusoidal" in parts else {}
    return {
        "parts": [*parts, *(["task"] if draw.chance(0.05) else [])],
        "layer_norm": draw.chance(0.6),
        "positions": 40,
        "position_offset": offset,
        **waves,
        **draw.some(
            size=(0.15, width // 2),
            scaled=(0.05, True),
            rows=(0.05, WORDS + 8),
            segments=(0.1, draw.one(1, 3)),
        ),
    }


def one_sided(draw: Draw) -> Blocks:
    """Blocks of a recipe without a decoder; they may contradict each other."""
    width = 48
    kind = draw.one(*["transformer"] * 5, *RECURRENT, *TWO_STREAMS, "gated_cnn")
    objective = draw.one("mlm", "bert", "albert", "lm", "lm", "prefixlm", "classification", "bilm")
    encoder = _stack(draw, width)
    if kind == "transformer":
        visible = {"lm": "causal", "prefixlm": "prefix"}.get(objective, "full")
        encoder |= {"visibility": visible} | draw.some(
            residual_attention=(0.1, True),
            rotary=(0.05, {}),
            window=(0.05, 8),
            shared_groups=(0.1, 1),
            first_norm=(0.05, False),
        )
    else:
        encoder = {
            "type": kind,
            "hidden_size": width,
            "layers": draw.one(1, 3),
            "activation": draw.one("gelu", "relu"),
            "norm_epsilon": 1e-7,
            **draw.some(bias=(0.05, False), norm=(0.05, "rms")),
        }
        if kind in RECURRENT and objective not in ("lm", "bilm"):
            encoder["bidirectional"] = True
    head: Blocks = {"tied": draw.chance(0.5)}
    if objective in ("lm", "prefixlm"):
        head |= draw.some(bias=(0.3, True), scaled=(0.2, True))
    block: Blocks = {"type": objective}
    if objective == "classification":
        block |= {"labels": 3, "pooling": draw.one("first", "last", "mean", "max")}
    else:
        block["head"] = {"bias": draw.chance(0.3)} if objective == "bilm" else head
    return {
        "model": {"embedding": _embedding(draw, width), "encoder": encoder},
        "objective": block,
    }


def two_sided(draw: Draw) -> Blocks:
    """Blocks of a recipe with a decoder; they may contradict each other."""
    width = 48
    embedding, stack = _embedding(draw, width), _stack(draw, width)
    decoder = {**stack, "layers": draw.one(1, 2)} | draw.some(
        activation=(0.05, "silu"), feed_forward_size=(0.05, 32), heads=(0.05, 2)
    )
    model: Blocks = {"embedding": embedding, "encoder": stack, "decoder": decoder}
    model["encoder"] |= draw.some(residual_attention=(0.05, True), shared_groups=(0.05, 1))
    if draw.chance(0.4):
        other = {**embedding, "shared": draw.chance(0.5)}
        model["target_embedding"] = other | draw.some(
            parts=(0.3, ["word", "position"]), layer_norm=(0.1, False)
        )
    head = {"tied": draw.chance(0.5), **draw.some(bias=(0.4, True), scaled=(0.2, True))}
    start = draw.some(decoder_start=(0.1, draw.one("bos", "eos")), target_bos=(0.05, True))
    return {
        "model": model,
        "objective": {"type": draw.one("bart", "gsg", "seq2seq"), "head": head, **start},
    }


def drawn_config(draw: Draw) -> Blocks:
    """A config of UER-py's or TencentPretrain's, with any combination of options."""
    kind = draw.one(*["transformer"] * 6, *RECURRENT, *TWO_STREAMS, "gatedcnn")
    width, narrow = 48, draw.chance(0.15)
    decodes = kind == "transformer" and draw.chance(0.4)
    target = "lm" if decodes else draw.one("mlm", "mlm", "bert", "lm", "lm", "cls", "bilm")
    if kind == "gatedcnn":
        target = draw.one("lm", "cls")
    parts = [
        "word",
        *draw.one(["pos"], ["pos"], ["sinusoidalpos"], []),
        *(["seg"] if draw.chance(0.3) else []),
    ]
    config = {
        "emb_size": width // 2 if narrow else width,
        "hidden_size": width,
        "feedforward_size": 64,
        "heads_num": draw.one(2, 4),
        "layers_num": draw.one(1, 3),
        "hidden_act": draw.one("gelu", "gelu_fast", "relu", "silu"),
        "max_seq_length": 40,
        "dropout": 0.1,
        "embedding": parts,
        "encoder": kind,
        "target": ["mlm", "sp"] if target == "bert" else [target],
        "data_processor": target,
        "tie_weights": draw.chance(0.5) and target != "bilm",
        **draw.some(
            remove_embedding_layernorm=(0.4, True),
            has_lmtarget_bias=(0.3, target in ("lm", "bilm")),
            factorized_embedding_parameterization=(0.95 if narrow else 0.03, True),
        ),
    }
    if target == "cls":
        config |= {"labels_num": 3, "pooling": draw.one("first", "last", "mean", "max")}
    if kind == "gatedcnn":
        return config | {"kernel_size": 4, "block_size": 2}
    if kind != "transformer":
        return config | ({"bidirectional": True} if kind in RECURRENT and target != "lm" else {})
    mask = draw.one("causal", "causal_with_prefix") if target == "lm" else "fully_visible"
    config |= {"mask": "fully_visible" if decodes else mask} | draw.some(
        layernorm_positioning=(0.5, "pre"),
        feed_forward=(0.3, "gated"),
        attention_head_size=(0.2, 8),
        relative_position_embedding=(0.3, True),
        relative_attention_buckets_num=(0.2, 8),
        remove_attention_scale=(0.2, True),
        parameter_sharing=(0.1, True),
        has_residual_attention=(0.1, True),
        layernorm=(0.3, draw.one("t5", "rms")),
        remove_transformer_bias=(0.2, True),
        rotary_position_embedding=(0.1, True),
        local_kv_heads_num=(0.1, 2),
        layernorm_eps=(0.1, 1e-6),
        alibi_position_embedding=(0.03, True),
    )
    if decodes:
        config |= {
            "decoder": "transformer",
            "decoder_layers_num": draw.one(1, 2),
            "tgt_embedding": draw.one(parts, parts, ["word", "pos"]),
            "share_embedding": draw.chance(0.6),
            "data_processor": draw.one("t5", "bart", "gsg", "mt"),
        }
    return config
