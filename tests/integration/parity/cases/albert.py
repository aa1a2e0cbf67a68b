"""ALBERT: shared layers and a narrow embedding."""

from __future__ import annotations

from pathlib import Path

from transformers import AlbertConfig, AlbertForMaskedLM

from tests.integration.parity.cases import mistakes
from tests.integration.parity.cases.bert import FOUR_SEGMENTS, NO_SEGMENT, segments_not_shifted
from tests.integration.parity.cases.mistakes import Mistake, option
from tests.integration.parity.cases.models import (
    HF_UNTIED,
    TIED_HEAD,
    UNTIED,
    UNTIED_HEAD,
    Blocks,
    Export,
    Family,
    Import,
    Weights,
)

WIDTH = 64


def _albert(vocab: Path) -> Blocks:
    return {
        "tokenizer": {"type": "wordpiece", "vocab": str(vocab)},
        "model": {
            "embedding": {"parts": ["word", "position", "segment"], "size": 32, "positions": 128},
            "encoder": {
                "type": "transformer",
                "layers": 4,
                "hidden_size": WIDTH,
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
        "hidden_size": WIDTH,
        "intermediate_size": 128,
        "num_hidden_layers": 4,
        "num_hidden_groups": 2,
        "num_attention_heads": 2,
        "hidden_act": "gelu_new",
    },
    last_norm="predictions.LayerNorm",
)

EXPORTS = (
    Export(ALBERT),
    Export(
        ALBERT,
        "one_group-untied-no_projection",
        {"encoder": {"shared_groups": 1}, "embedding": {"size": WIDTH}, "head": UNTIED},
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
        lossless=False,
    ),
    Export(
        ALBERT,
        "unshared-gelu-epsilon",
        {
            "encoder": {"shared_groups": None, "activation": "gelu", "norm_epsilon": 1e-5},
        },
        weights_format="bin",
        lossless=False,
    ),
    Export(ALBERT, "no_segment", {"embedding": NO_SEGMENT}, lossless=False),
)
SLOW_EXPORTS = (
    Export(ALBERT, "eager", attention="eager"),
    Export(ALBERT, "bin", weights_format="bin"),
    Export(ALBERT, "untied", {"head": UNTIED}),
    Export(ALBERT, "no_output_bias", {"head": {"bias": False}}, lossless=False),
    *(
        Export(
            ALBERT,
            f"groups={groups}",
            {"encoder": {"shared_groups": groups}},
            lossless=groups is not None,
        )
        for groups in (1, 4, None)
    ),
    Export(ALBERT, "gelu-epsilon", {"encoder": {"activation": "gelu", "norm_epsilon": 1e-5}}),
    Export(ALBERT, "no_projection", {"embedding": {"size": None}}, lossless=False),
    Export(ALBERT, "three_segments", {"embedding": {"segments": 3}}),
)

IMPORTS = (
    Import(ALBERT, recipe={"encoder": {"shared_groups": 2}, **TIED_HEAD}),
    Import(
        ALBERT,
        "one_group-untied-one_segment-epsilon",
        {"num_hidden_groups": 1, "type_vocab_size": 1, "layer_norm_eps": 1e-6, **HF_UNTIED},
        recipe={"encoder": {"shared_groups": 1}, **UNTIED_HEAD},
    ),
    Import(
        ALBERT,
        "unshared-gelu-four_segments-positions",
        {"num_hidden_groups": 4, "hidden_act": "gelu", **FOUR_SEGMENTS},
        recipe={"encoder": {"shared_groups": 4}},
    ),
)
SLOW_IMPORTS = (
    Import(ALBERT, "untied", HF_UNTIED),
    Import(ALBERT, "one_group", {"num_hidden_groups": 1}),
    Import(ALBERT, "unshared", {"num_hidden_groups": 4, "hidden_act": "gelu"}),
    Import(ALBERT, "one_segment", {"type_vocab_size": 1, "layer_norm_eps": 1e-6}),
    Import(ALBERT, "four_segments", FOUR_SEGMENTS),
)


def groups_swapped(weights: Weights) -> None:
    for name in [name for name in weights if name.startswith("encoder_group_00")]:
        other = name.replace("group_00", "group_01")
        weights[name], weights[other] = weights[other], weights[name]


MISTAKES: dict[Family, tuple[Mistake, ...]] = {
    ALBERT: (
        *mistakes.ABSOLUTE,
        option("encoder", activation="gelu"),
        option("encoder", norm_epsilon=1e-5),
        option("encoder", attention_scale=False),
        option("encoder", window=8),
        option("encoder", heads=4),
        option("embedding", position_offset=1),
        mistakes.weights(segments_not_shifted),
        mistakes.weights(groups_swapped),
    ),
}
