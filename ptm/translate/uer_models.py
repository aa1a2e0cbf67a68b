"""Model configurations that UER-py and TencentPretrain publish in their `models/` folders.

The names with a folder are of UER-py 5743050 and TencentPretrain ed79843; the names without one are
older, and those files hold sizes only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ptm.errors import UserError

Config = Mapping[str, Any]

_FOLDER = re.compile(r"(?:.*/)?models/(.+)")
_NOT_SUPPORTED = {
    "images and audio are out of scope": (
        *("vit/", "vilt/", "clip/", "s2t/", "beit/", "dall-e/", "talk2face/"),
    ),
    "models of two streams (siamese networks) are not implemented": ("sbert/", "rnn/siamese"),
}


def published_config(path: str) -> Config | None:
    """The content of a configuration file by its path, from `models/` on; None if not published.

    Raises UserError for a published model of a kind that is not supported.
    """
    found = _FOLDER.fullmatch(path.replace("\\", "/"))
    name = found.group(1) if found else ""
    for reason, prefixes in _NOT_SUPPORTED.items():
        if name.startswith(prefixes):
            raise UserError(f"{path}: {reason}.")
    return _PUBLISHED.get(name.removesuffix(".json").removesuffix("_config"))


def _sizes(layers: int, hidden: int, heads: int, feed_forward: int, **others: Any) -> Config:
    return {
        "layers_num": layers,
        "emb_size": hidden,
        "hidden_size": hidden,
        "heads_num": heads,
        "feedforward_size": feed_forward,
        "hidden_act": "gelu",
        "dropout": 0.1,
        **others,
    }


def _bert(layers: int, hidden: int, heads: int, feed_forward: int, **others: Any) -> Config:
    return {
        **_sizes(layers, hidden, heads, feed_forward),
        "max_seq_length": 512,
        "data_processor": "bert",
        "embedding": ["word", "pos", "seg"],
        "encoder": "transformer",
        "mask": "fully_visible",
        "target": ["mlm", "sp"],
        "tie_weights": True,
        **others,
    }


def _albert(layers: int, hidden: int, heads: int, feed_forward: int) -> Config:
    return {
        **_bert(layers, hidden, heads, feed_forward, tie_weights=False),
        "emb_size": 128,
        "hidden_act": "relu",
        "dropout": 0.0,
        "data_processor": "albert",
        "factorized_embedding_parameterization": True,
        "parameter_sharing": True,
    }


def _gpt2(layers: int, hidden: int, heads: int, feed_forward: int) -> Config:
    return {
        **_sizes(layers, hidden, heads, feed_forward, hidden_act="gelu_fast"),
        "max_seq_length": 1024,
        "data_processor": "lm",
        "embedding": ["word", "pos"],
        "remove_embedding_layernorm": True,
        "encoder": "transformer",
        "mask": "causal",
        "layernorm_positioning": "pre",
        "target": ["lm"],
        "tie_weights": True,
    }


def _llama(
    layers: int, hidden: int, heads: int, feed_forward: int, dropout: float = 0.0, **others: Any
) -> Config:
    return {
        **_sizes(layers, hidden, heads, feed_forward, hidden_act="silu", dropout=dropout),
        "max_seq_length": 2048,
        "data_processor": "lm",
        "embedding": ["word"],
        "remove_transformer_bias": True,
        "remove_embedding_layernorm": True,
        "rotary_position_embedding": True,
        "encoder": "transformer",
        "feed_forward": "gated",
        "mask": "causal",
        "layernorm_positioning": "pre",
        "layernorm": "rms",
        "target": ["lm"],
        **others,
    }


def _bloom(layers: int, hidden: int, heads: int) -> Config:
    return {
        **_sizes(layers, hidden, heads, 4 * hidden, dropout=0.0),
        "data_processor": "lm",
        "embedding": ["word"],
        "remove_embedding_layernorm": True,
        "encoder": "transformer",
        "mask": "causal",
        "layernorm_positioning": "pre",
        "target": ["lm"],
        "tie_weights": True,
        "alibi_position_embedding": True,
        "layer_number_scale": True,
    }


def _decoder(layers: int, parts: list[str], processor: str) -> Config:
    return {
        "decoder_layers_num": layers,
        "data_processor": processor,
        "embedding": parts,
        "tgt_embedding": parts,
        "encoder": "transformer",
        "mask": "fully_visible",
        "decoder": "transformer",
        "target": ["lm"],
    }


def _t5(
    layers: int, hidden: int, heads: int, feed_forward: int, *, head: int = 0, version: str = "1.0"
) -> Config:
    newer = version == "1.1"
    return {
        **_sizes(layers, hidden, heads, feed_forward),
        **_decoder(layers, ["word"], "t5"),
        "hidden_act": "gelu_fast" if newer else "relu",
        "dropout": 0.0 if newer else 0.1,
        "feed_forward": "gated" if newer else "dense",
        "tie_weights": not newer,
        **({"attention_head_size": head} if head else {}),
        "relative_position_embedding": True,
        "remove_embedding_layernorm": True,
        "share_embedding": True,
        "layernorm_positioning": "pre",
        "remove_attention_scale": True,
        "layernorm": "t5",
        "remove_transformer_bias": True,
    }


def _bart(layers: int, hidden: int, heads: int, feed_forward: int) -> Config:
    return {
        **_sizes(layers, hidden, heads, feed_forward),
        **_decoder(layers, ["word", "pos"], "bart"),
        "max_seq_length": 1024,
        "share_embedding": True,
        "tie_weights": True,
        "has_lmtarget_bias": True,
    }


def _pegasus(layers: int, hidden: int, heads: int, feed_forward: int) -> Config:
    return {
        **_sizes(layers, hidden, heads, feed_forward, hidden_act="relu"),
        **_decoder(layers, ["word", "sinusoidalpos"], "gsg"),
        "max_seq_length": 1024,
        "remove_embedding_layernorm": True,
        "share_embedding": True,
        "layernorm_positioning": "pre",
        "tie_weights": True,
        "has_lmtarget_bias": True,
    }


def _translation(hidden: int, heads: int, dropout: float, *, tied: bool) -> Config:
    return {
        **_sizes(6, hidden, heads, 4 * hidden, hidden_act="relu", dropout=dropout),
        **_decoder(6, ["word", "sinusoidalpos"], "mt"),
        "max_seq_length": 512,
        "tie_weights": tied,
    }


def _recurrent(encoder: str, hidden: int = 512, processor: str = "lm") -> Config:
    return {
        "layers_num": 2,
        "emb_size": 512,
        "hidden_size": hidden,
        "dropout": 0.1,
        "max_seq_length": 1024,
        "data_processor": processor,
        "embedding": ["word"],
        "remove_embedding_layernorm": True,
        "encoder": encoder,
        "target": [processor],
    }


def _gated_cnn(layers: int, hidden: int, emb: int = 128, kernel: int = 4) -> Config:
    return {
        **_recurrent("gatedcnn", hidden),
        "layers_num": layers,
        "emb_size": emb,
        "kernel_size": kernel,
        "block_size": 2,
    }


def _only_sizes(config: Config, **others: Any) -> Config:
    """A configuration as in UER-py before August 2021: sizes, activation and dropout."""
    kept = (
        *("layers_num", "emb_size", "hidden_size", "heads_num", "feedforward_size"),
        *("hidden_act", "dropout", "kernel_size", "block_size", "attention_head_size"),
    )
    return {**{key: config[key] for key in kept if key in config}, **others}


_BERT = {
    "tiny": _bert(2, 128, 2, 512),
    "mini": _bert(4, 256, 4, 1024),
    "small": _bert(4, 512, 8, 2048),
    "medium": _bert(8, 512, 8, 2048),
    "base": _bert(12, 768, 12, 3072),
    "large": _bert(24, 1024, 16, 4096),
    "xlarge": _bert(36, 1536, 24, 6144),
}
_ALBERT = {
    "base": _albert(12, 768, 12, 3072),
    "large": _albert(24, 1024, 16, 4096),
    "xlarge": _albert(24, 2048, 16, 8192),
    "xxlarge": _albert(12, 4096, 16, 16384),
}
_GPT2 = {
    "distil": _gpt2(6, 768, 12, 3072),
    "medium": _gpt2(24, 1024, 16, 4096),
    "large": _gpt2(36, 1280, 20, 5120),
    "xlarge": _gpt2(48, 1600, 25, 6400),
}
_T5_V1_1 = {
    "small": _t5(8, 512, 6, 1024, head=64, version="1.1"),
    "base": _t5(12, 768, 12, 2048, head=64, version="1.1"),
    "large": _t5(24, 1024, 16, 2816, head=64, version="1.1"),
    "xlarge": _t5(24, 2048, 32, 5120, head=64, version="1.1"),
    "xxlarge": _t5(24, 4096, 64, 10240, head=64, version="1.1"),
}
_XLM_ROBERTA: Config = {
    "max_seq_length": 514,
    "data_processor": "mlm",
    "target": ["mlm"],
    "tie_weights": False,
}
_PUBLISHED: Mapping[str, Config] = {
    **{f"bert/{name}": config for name, config in _BERT.items()},
    **{f"albert/{name}": config for name, config in _ALBERT.items()},
    "gpt2/config": _gpt2(12, 768, 12, 3072),
    **{f"gpt2/{name}": config for name, config in _GPT2.items()},
    "t5/small": _t5(6, 512, 8, 2048),
    "t5/base": _t5(12, 768, 12, 3072),
    "t5/large": _t5(24, 1024, 16, 4096),
    "t5/3b": _t5(24, 1024, 32, 16384, head=128),
    "t5/11b": _t5(24, 1024, 128, 65536, head=128),
    **{f"t5-v1_1/{name}": config for name, config in _T5_V1_1.items()},
    "bart/base": _bart(6, 768, 12, 3072),
    "bart/large": _bart(12, 1024, 16, 4096),
    "pegasus/base": _pegasus(12, 768, 12, 3072),
    "pegasus/large": _pegasus(16, 1024, 16, 4096),
    "xlm-roberta/base": _bert(12, 768, 12, 3072, **_XLM_ROBERTA),
    "xlm-roberta/large": _bert(24, 1024, 16, 4096, **_XLM_ROBERTA),
    "megatron/bert_3.9B": _bert(48, 2560, 40, 10240, tie_weights=False),
    "megatron/gpt2_8.3B": _gpt2(72, 3072, 24, 12288),
    "transformer/base": _translation(512, 8, 0.1, tied=True),
    "transformer/big": _translation(1024, 16, 0.3, tied=True),
    "rnn/lstm": _recurrent("lstm"),
    "rnn/gru": _recurrent("gru"),
    "rnn/bilstm": _recurrent("bilstm", 1536, "bilm"),
    "cnn/gatedcnn_9": _gated_cnn(9, 807),
    "cnn/gatedcnn_13": _gated_cnn(13, 1268),
    # TencentPretrain
    "rnn/rnn": _recurrent("lstm"),
    "rnn/birnn": _recurrent("bilstm", 1536, "bilm"),
    "llama/7b": _llama(32, 4096, 32, 11008),
    "llama/13b": _llama(40, 5120, 40, 13824),
    "llama/30b": _llama(60, 6656, 52, 17920, 0.1),
    "llama/33b": _llama(60, 6656, 52, 17920),
    "llama/65b": _llama(80, 8192, 64, 22016),
    "llama2/7b": _llama(32, 4096, 32, 11008),
    "llama2/13b": _llama(40, 5120, 40, 13824),
    "llama2/70b": _llama(80, 8192, 64, 28672, local_kv_heads_num=8),
    "bloom/1b1": _bloom(24, 1536, 16),
    "bloom/7b1": _bloom(30, 4096, 32),
    "bloom/175b": _bloom(70, 14336, 112),
    # Earlier names
    "google": _only_sizes(_BERT["base"]),
    "bert_base": _only_sizes(_BERT["base"]),
    "bert_large": _only_sizes(_BERT["large"]),
    "bert_tiny": _sizes(3, 384, 6, 1536),
    "bert_small": _sizes(6, 512, 8, 2048),
    "bert_xlarge": _sizes(36, 1024, 16, 4096),
    **{f"albert_{name}": _only_sizes(config) for name, config in _ALBERT.items()},
    **{
        f"t5_{name}": _only_sizes(_T5_V1_1[name], dropout=0.1)
        for name in ("small", "base", "large")
    },
    **{
        f"mt5/{name}": _only_sizes(config, dropout=0.1, share_embedding=True)
        for name, config in _T5_V1_1.items()
    },
    "encoder_decoder": _translation(512, 8, 0.1, tied=False),
    "rnn": _recurrent("lstm"),
    "birnn": _recurrent("bilstm", 1536, "bilm"),
    **{f"{name}_9": _gated_cnn(9, 807) for name in ("gatedcnn", "gcnn")},
    **{f"{name}_13": _gated_cnn(13, 1268) for name in ("gatedcnn", "gcnn")},
    "cnn": _gated_cnn(6, 512, emb=512, kernel=3),
}
"""Path below `models/`, without `_config.json`, to the content of the file."""
