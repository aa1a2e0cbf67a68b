"""Masked language models: BERT and its kin, ALBERT and ModernBERT.

No number is the default one: epsilons, segments, tasks, the first position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import (
    AlbertConfig,
    AlbertForMaskedLM,
    BertConfig,
    BertForMaskedLM,
    DistilBertConfig,
    DistilBertForMaskedLM,
    ErnieConfig,
    ErnieForMaskedLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
    RobertaConfig,
    RobertaForMaskedLM,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
)

from tests.integration.parity.cases import mistakes
from tests.integration.parity.cases.mistakes import Mistake, option
from tests.integration.parity.cases.models import Blocks, Export, Family, Import, Weights
from tests.support.bert_pairs import BASE, MINI, POSITIONS, TINY, Size, blocks_of

FAIRSEQ = {"cls": "<s>", "pad": "<pad>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>"}

_TINY = {
    "hidden_size": TINY.width,
    "num_hidden_layers": TINY.layers,
    "num_attention_heads": TINY.heads,
    "intermediate_size": 4 * TINY.width,
    "max_position_embeddings": POSITIONS,
}


def _tiny(
    embedding: dict[str, Any], encoder: dict[str, Any], specials: dict[str, str] | None = None
) -> Callable[[Path], Blocks]:
    """The recipe of a tiny BERT with other values in two blocks."""

    def recipe(vocab: Path) -> Blocks:
        blocks = blocks_of(vocab, TINY)
        blocks["model"]["embedding"].update(embedding)
        blocks["model"]["encoder"].update(encoder)
        blocks["tokenizer"]["special_tokens"] = specials or {}
        return blocks

    return recipe


BERT = Family(
    name="bert",
    hf_class=BertForMaskedLM,
    recipe=_tiny({}, {}),
    config_class=BertConfig,
    sizes=_TINY,
    last_norm="cls.predictions.transform.LayerNorm",
)
_ROBERTA = _tiny({"position_offset": 2, "segments": 1}, {"norm_epsilon": 1e-5}, FAIRSEQ)
_ROBERTA_SIZES = {**_TINY, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
ROBERTA = Family(
    name="roberta",
    hf_class=RobertaForMaskedLM,
    recipe=_ROBERTA,
    config_class=RobertaConfig,
    sizes=_ROBERTA_SIZES,
    last_norm="lm_head.layer_norm",
    special_tokens=FAIRSEQ,
)
XLM_ROBERTA = Family(
    name="xlm_roberta",
    hf_class=XLMRobertaForMaskedLM,
    recipe=_ROBERTA,
    config_class=XLMRobertaConfig,
    sizes=_ROBERTA_SIZES,
    last_norm="lm_head.layer_norm",
    special_tokens=FAIRSEQ,
)
DISTILBERT = Family(
    name="distilbert",
    hf_class=DistilBertForMaskedLM,
    recipe=_tiny({"of": ["word", "position"]}, {"activation": "relu"}),
    config_class=DistilBertConfig,
    sizes={
        "dim": TINY.width,
        "n_layers": TINY.layers,
        "n_heads": TINY.heads,
        "hidden_dim": 4 * TINY.width,
        "max_position_embeddings": POSITIONS,
        "activation": "relu",
    },
    last_norm="vocab_layer_norm",
)
ERNIE = Family(
    name="ernie",
    hf_class=ErnieForMaskedLM,
    recipe=_tiny(
        {"of": ["word", "position", "segment", "task"], "segments": 4, "tasks": 3},
        {"activation": "gelu_tanh"},
    ),
    config_class=ErnieConfig,
    sizes={**_TINY, "type_vocab_size": 4, "use_task_id": True, "hidden_act": "gelu_new"},
    last_norm="cls.predictions.transform.LayerNorm",
)

ALBERT_WIDTH = 64


def _albert(vocab: Path) -> Blocks:
    return {
        "tokenizer": {"type": "wordpiece", "vocab": str(vocab)},
        "model": {
            "embedding": {"of": ["word", "position", "segment"], "size": 32, "positions": 128},
            "encoder": {
                "type": "transformer",
                "layers": 4,
                "hidden_size": ALBERT_WIDTH,
                "heads": 2,
                "feed_forward_size": 128,
                "activation": "gelu_tanh",
                "shared_groups": 2,
            },
        },
        "objective": {"type": "mlm", "head": {}},
    }


ALBERT = Family(
    name="albert",
    hf_class=AlbertForMaskedLM,
    recipe=_albert,
    config_class=AlbertConfig,
    sizes={
        "embedding_size": 32,
        "hidden_size": ALBERT_WIDTH,
        "intermediate_size": 128,
        "num_hidden_layers": 4,
        "num_hidden_groups": 2,
        "num_attention_heads": 2,
        "hidden_act": "gelu_new",
    },
    last_norm="predictions.LayerNorm",
)

MODERNBERT_LAYERS, EVERY, WINDOW = 5, 3, 8
_WIDTH, _HEADS = 64, 2


def _modernbert(vocab: Path) -> Blocks:
    return {
        "tokenizer": {"type": "wordpiece", "vocab": str(vocab)},
        "model": {
            "embedding": {"of": ["word"], "positions": 1024},
            "encoder": {
                "type": "transformer",
                "layers": MODERNBERT_LAYERS,
                "hidden_size": _WIDTH,
                "heads": _HEADS,
                "feed_forward_size": 96,
                "feed_forward": "gated",
                "norm_position": "pre",
                "norm_epsilon": 1e-5,
                "first_norm": False,
                "bias": False,
                "rotary": {"theta": 160000, "local_theta": 10000},
                "window": WINDOW,
                "global_every": EVERY,
            },
        },
        "objective": {"type": "mlm", "head": {}},
    }


MODERNBERT = Family(
    name="modernbert",
    hf_class=ModernBertForMaskedLM,
    recipe=_modernbert,
    config_class=ModernBertConfig,
    sizes={
        "hidden_size": _WIDTH,
        "intermediate_size": 96,
        "num_hidden_layers": MODERNBERT_LAYERS,
        "num_attention_heads": _HEADS,
        "local_attention": WINDOW,
        "pad_token_id": 0,
    },
    last_norm="head.norm",
)


def sizes_of(size: Size) -> dict[str, int]:
    """The recipe's encoder in another size."""
    return {
        "layers": size.layers,
        "hidden_size": size.width,
        "heads": size.heads,
        "feed_forward_size": 4 * size.width,
    }


_ATTENTIONS: tuple[Literal["sdpa", "eager"], ...] = ("sdpa", "eager")
UNTIED: dict[str, Any] = {"tied": False}
NO_SEGMENT = {"of": ["word", "position"]}
_GLOBAL = {"window": None, "global_every": None}

EXPORTS = (
    Export(BERT),
    Export(
        BERT,
        "gelu_tanh-untied",
        {"encoder": {"activation": "gelu_tanh"}, "head": UNTIED},
        attention="eager",
        weights_format="bin",
    ),
    Export(
        BERT,
        "mini-relu-no_output_bias",
        {"encoder": {**sizes_of(MINI), "activation": "relu"}, "head": {"bias": False}},
    ),
    Export(
        BERT,
        "tanh-epsilon",
        {"encoder": {"activation": "tanh", "norm_epsilon": 1e-5}},
        weights_format="bin",
    ),
    Export(
        BERT,
        "silu-no_segment",
        {"encoder": {"activation": "silu"}, "embedding": NO_SEGMENT},
        lossless=False,
    ),
    # XLM-RoBERTa is a RoBERTa over SentencePiece: tests/unit/interop/test_xlm_roberta_export.py.
    Export(ROBERTA),
    Export(DISTILBERT),
    Export(DISTILBERT, "gelu-untied", {"encoder": {"activation": "gelu"}, "head": UNTIED}),
    Export(ERNIE),
    Export(ALBERT),
    Export(
        ALBERT,
        "one_group-untied",
        {"encoder": {"shared_groups": 1}, "head": UNTIED},
        attention="eager",
    ),
    Export(
        ALBERT,
        "four_groups-no_output_bias-three_segments",
        {
            "encoder": {"shared_groups": 4},
            "embedding": {"segments": 3},
            "head": {"bias": False},
        },
    ),
    Export(
        ALBERT,
        "unshared-gelu-epsilon-no_projection",
        {
            "encoder": {"shared_groups": None, "activation": "gelu", "norm_epsilon": 1e-5},
            "embedding": {"size": None},
        },
        weights_format="bin",
    ),
    Export(ALBERT, "no_segment", {"embedding": NO_SEGMENT}, lossless=False),
    Export(MODERNBERT),
    Export(
        MODERNBERT,
        "silu-untied",
        {"encoder": {"activation": "silu"}, "head": UNTIED},
        attention="eager",
    ),
    Export(
        MODERNBERT,
        "biases-gelu_tanh-epsilon",
        {"encoder": {"bias": True, "activation": "gelu_tanh", "norm_epsilon": 1e-6}},
        weights_format="bin",
    ),
    Export(
        MODERNBERT,
        "no_window-no_output_bias",
        {"encoder": {**_GLOBAL, "rotary": {"theta": 500.0}}, "head": {"bias": False}},
    ),
    Export(
        MODERNBERT,
        "one_theta",
        {"encoder": {"rotary": {"theta": 300.0}, "window": 4, "global_every": 2}},
    ),
)


def _matrix() -> Iterator[Export]:
    """BERT's activations, tied or not, with segments or without; each option by itself."""
    for activation in ("gelu", "gelu_tanh", "relu", "silu", "tanh"):
        for tied in (True, False):
            for segment in (True, False):
                parts = [activation, "tied" if tied else "untied"]
                yield Export(
                    BERT if segment or activation not in ("gelu", "relu") else DISTILBERT,
                    "-".join([*parts, "segment" if segment else "no_segment"]),
                    {
                        "encoder": {"activation": activation},
                        "embedding": {} if segment else NO_SEGMENT,
                        "head": {"tied": tied},
                    },
                    lossless=False,
                )
    for family in (BERT, ROBERTA, DISTILBERT, ERNIE, ALBERT, MODERNBERT):
        yield Export(family, "eager", attention="eager")
        yield Export(family, "bin", weights_format="bin")
        yield Export(family, "untied", {"head": UNTIED})
    for family in (BERT, ALBERT, MODERNBERT):
        yield Export(family, "no_output_bias", {"head": {"bias": False}})
    yield Export(BERT, "mini", {"encoder": sizes_of(MINI)})
    for groups in (1, 4, None):
        yield Export(ALBERT, f"groups={groups}", {"encoder": {"shared_groups": groups}})
    yield Export(ALBERT, "gelu-epsilon", {"encoder": {"activation": "gelu", "norm_epsilon": 1e-5}})
    yield Export(ALBERT, "no_projection", {"embedding": {"size": None}})
    yield Export(ALBERT, "three_segments", {"embedding": {"segments": 3}})
    yield Export(MODERNBERT, "biases", {"encoder": {"bias": True}})
    yield Export(MODERNBERT, "no_window", {"encoder": {**_GLOBAL, "rotary": {"theta": 500.0}}})
    yield Export(
        MODERNBERT,
        "gelu_tanh-epsilon",
        {"encoder": {"activation": "gelu_tanh", "norm_epsilon": 1e-6}},
    )
    yield Export(MODERNBERT, "silu", {"encoder": {"activation": "silu"}})


SLOW_EXPORTS = tuple(_matrix())
BASE_EXPORTS = (
    Export(BERT, "base", {"encoder": sizes_of(BASE)}),
    *(
        Export(
            BERT,
            f"base-{'tied' if tied else 'no_segment-untied'}-{attention}",
            {
                "encoder": {**sizes_of(BASE), "activation": "gelu_tanh"},
                "embedding": {} if tied else NO_SEGMENT,
                "head": {"tied": tied},
            },
            attention=attention,
        )
        for tied in (True, False)
        for attention in _ATTENTIONS
    ),
)
"""Of 86 million parameters and more."""

_UNTIED = {"tie_word_embeddings": False}
_PATTERN = ["full_attention", "sliding_attention", "full_attention", "sliding_attention"]
_FOUR_SEGMENTS = {"type_vocab_size": 4, "max_position_embeddings": 50}
_TIED_HEAD, _UNTIED_HEAD = {"head": {"tied": True}}, {"head": {"tied": False}}

IMPORTS = (
    Import(BERT, recipe=_TIED_HEAD),
    Import(BERT, "gelu_new-untied", {"hidden_act": "gelu_new", **_UNTIED}, recipe=_UNTIED_HEAD),
    Import(
        BERT,
        "mini-relu",
        {
            "num_hidden_layers": MINI.layers,
            "hidden_size": MINI.width,
            "num_attention_heads": MINI.heads,
            "hidden_act": "relu",
        },
    ),
    Import(
        BERT,
        "heads-epsilon-one_segment",
        {"num_attention_heads": 8, "layer_norm_eps": 1e-5, "type_vocab_size": 1},
    ),
    Import(
        BERT,
        "inner-silu-four_segments-positions",
        {"intermediate_size": 96, "hidden_act": "silu", **_FOUR_SEGMENTS},
    ),
    *(Import(family, recipe=_TIED_HEAD) for family in (ROBERTA, DISTILBERT, ERNIE)),
    *(
        Import(family, "untied", _UNTIED, recipe=_UNTIED_HEAD)
        for family in (ROBERTA, DISTILBERT, ERNIE)
    ),
    # Without SentencePiece it goes back as a RoBERTa.
    Import(XLM_ROBERTA, recipe=_TIED_HEAD, round_trip=False),
    Import(XLM_ROBERTA, "untied", _UNTIED, recipe=_UNTIED_HEAD, round_trip=False),
    Import(ALBERT, recipe={"encoder": {"shared_groups": 2}, **_TIED_HEAD}),
    Import(
        ALBERT,
        "one_group-untied-one_segment-epsilon",
        {"num_hidden_groups": 1, "type_vocab_size": 1, "layer_norm_eps": 1e-6, **_UNTIED},
        recipe={"encoder": {"shared_groups": 1}, **_UNTIED_HEAD},
    ),
    Import(
        ALBERT,
        "unshared-gelu-four_segments-positions",
        {"num_hidden_groups": 4, "hidden_act": "gelu", **_FOUR_SEGMENTS},
        recipe={"encoder": {"shared_groups": 4}},
    ),
    Import(
        MODERNBERT,
        recipe={"embedding": {"longest_sequence": None, "positions": 8192}, **_TIED_HEAD},
    ),
    Import(
        MODERNBERT,
        "older_keys-untied",
        {
            "global_attn_every_n_layers": 2,
            "global_rope_theta": 500.0,
            "local_rope_theta": 90.0,
            **_UNTIED,
        },
        recipe=_UNTIED_HEAD,
    ),
    Import(
        MODERNBERT,
        "pattern-no_output_bias",
        {"num_hidden_layers": 4, "layer_types": _PATTERN, "decoder_bias": False},
    ),
    Import(MODERNBERT, "global", {"num_hidden_layers": 2, "layer_types": ["full_attention"] * 2}),
    Import(
        MODERNBERT,
        "silu-epsilon-biases",
        {
            "hidden_activation": "silu",
            "classifier_activation": "silu",
            "norm_eps": 1e-6,
            **dict.fromkeys(("attention_bias", "mlp_bias", "norm_bias", "classifier_bias"), True),
        },
    ),
)
SLOW_IMPORTS = (
    *(Import(BERT, activation, {"hidden_act": activation}) for activation in ("gelu_new", "relu")),
    Import(BERT, "one_segment", {"type_vocab_size": 1}),
    Import(BERT, "four_segments", {"type_vocab_size": 4}),
    Import(BERT, "positions", {"max_position_embeddings": 50}),
    Import(BERT, "silu", {"intermediate_size": 96, "hidden_act": "silu"}),
    *(Import(family, "untied", _UNTIED) for family in (BERT, ALBERT, MODERNBERT)),
    Import(ALBERT, "one_group", {"num_hidden_groups": 1}),
    Import(ALBERT, "unshared", {"num_hidden_groups": 4, "hidden_act": "gelu"}),
    Import(ALBERT, "one_segment", {"type_vocab_size": 1, "layer_norm_eps": 1e-6}),
    Import(ALBERT, "four_segments", _FOUR_SEGMENTS),
    Import(MODERNBERT, "no_output_bias", {"decoder_bias": False}),
    Import(
        MODERNBERT,
        "older_keys",
        {"global_attn_every_n_layers": 2, "global_rope_theta": 500.0, "local_rope_theta": 90.0},
    ),
    Import(MODERNBERT, "pattern", {"num_hidden_layers": 4, "layer_types": _PATTERN}),
    Import(
        MODERNBERT,
        "silu",
        {"hidden_activation": "silu", "classifier_activation": "silu", "norm_eps": 1e-6},
    ),
    Import(
        MODERNBERT,
        "biases",
        dict.fromkeys(("attention_bias", "mlp_bias", "norm_bias", "classifier_bias"), True),
    ),
)


def segments_not_shifted(weights: Weights) -> None:
    """transformers' segment 0 is ptm's 1: ptm's row 0 is that of padding."""
    weights["embedding.segment.weight"] = weights["embedding.segment.weight"].roll(-1, dims=0)


def groups_swapped(weights: Weights) -> None:
    for name in [name for name in weights if name.startswith("encoder_group_00")]:
        other = name.replace("group_00", "group_01")
        weights[name], weights[other] = weights[other], weights[name]


def neighbours_turned_together(weights: Weights) -> None:
    """Rotary pairs as in GPT-J: neighbours, instead of the halves of a head."""
    name = "encoder_03.attention.qkv.weight"
    query, key, value = weights[name].chunk(3)
    size = _WIDTH // _HEADS
    order = torch.arange(size).view(2, -1).T.flatten()
    order = torch.cat([order + head * size for head in range(_HEADS)])
    weights[name] = torch.cat((query[order], key[order], value))


_ROWS = (mistakes.SEEN, mistakes.PADDING_SEEN)
_ABSOLUTE = (*_ROWS, mistakes.SHIFTED_POSITIONS, mistakes.RUNNING_POSITIONS)


def _bert_like(first_position: int) -> tuple[Mistake, ...]:
    others = {first_position + 1, max(first_position - 1, 0)} - {first_position}
    return (
        *_ABSOLUTE,
        option("encoder", activation="silu"),
        option("encoder", norm_epsilon=1e-6),
        option("encoder", heads=4),
        *(option("embedding", position_offset=offset) for offset in sorted(others)),
    )


MISTAKES: dict[Family, tuple[Mistake, ...]] = {
    BERT: (
        *_ABSOLUTE,
        *(option("encoder", activation=name) for name in ("gelu_tanh", "relu", "silu", "tanh")),
        option("encoder", norm_epsilon=1e-5),
        option("encoder", heads=4),
        option("encoder", attention_scale=False),
        mistakes.weights(segments_not_shifted),
    ),
    ROBERTA: _bert_like(2),
    DISTILBERT: _bert_like(0),
    ERNIE: _bert_like(0),
    ALBERT: (
        *_ABSOLUTE,
        option("encoder", activation="gelu"),
        option("encoder", norm_epsilon=1e-5),
        option("encoder", attention_scale=False),
        option("encoder", window=8),
        option("encoder", heads=4),
        option("embedding", position_offset=1),
        mistakes.weights(segments_not_shifted),
        mistakes.weights(groups_swapped),
    ),
    MODERNBERT: (
        *_ROWS,
        mistakes.DOUBLED_POSITIONS,
        option("encoder", activation="gelu_tanh"),
        option("encoder", norm_epsilon=1e-3),
        option("encoder", attention_scale=False),
        option("encoder", window=WINDOW - 2),
        option("encoder", window=WINDOW + 2),
        option("encoder", global_every=EVERY - 1),
        option("encoder", **_GLOBAL, rotary={"theta": 160000}),
        option("encoder", rotary=None),
        option("encoder", rotary={"theta": 160000}),
        option("encoder", rotary={"theta": 10000, "local_theta": 160000}),
        option("encoder", rotary={"theta": 150000, "local_theta": 10000}),
        mistakes.weights(neighbours_turned_together),
    ),
}
