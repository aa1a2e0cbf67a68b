"""BERT, RoBERTa, XLM-RoBERTa, DistilBERT and ERNIE.

Epsilons, segments, tasks and the first position differ from their defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from transformers import (
    BertConfig,
    BertForMaskedLM,
    DistilBertConfig,
    DistilBertForMaskedLM,
    ErnieConfig,
    ErnieForMaskedLM,
    RobertaConfig,
    RobertaForMaskedLM,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
)

from tests.integration.parity.cases import mistakes
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
    """The recipe of a tiny BERT with changes in two blocks."""

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
    recipe=_tiny({"parts": ["word", "position"]}, {"activation": "relu"}),
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
        {"parts": ["word", "position", "segment", "task"], "segments": 4, "tasks": 3},
        {"activation": "gelu_tanh"},
    ),
    config_class=ErnieConfig,
    sizes={**_TINY, "type_vocab_size": 4, "use_task_id": True, "hidden_act": "gelu_new"},
    last_norm="cls.predictions.transform.LayerNorm",
)


def sizes_of(size: Size) -> dict[str, int]:
    """The sizes of a recipe's encoder."""
    return {
        "layers": size.layers,
        "hidden_size": size.width,
        "heads": size.heads,
        "feed_forward_size": 4 * size.width,
    }


_ATTENTIONS: tuple[Literal["sdpa", "eager"], ...] = ("sdpa", "eager")
NO_SEGMENT = {"parts": ["word", "position"]}

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
        lossless=False,
    ),
    Export(BERT, "silu", {"encoder": {"activation": "silu"}}, weights_format="bin"),
    # DistilBERT's config has no epsilon.
    Export(
        BERT,
        "tanh-epsilon-no_segment",
        {"encoder": {"activation": "tanh", "norm_epsilon": 1e-5}, "embedding": NO_SEGMENT},
        lossless=False,
    ),
    # XLM-RoBERTa is a RoBERTa over SentencePiece: tests/unit/interop/test_xlm_roberta_export.py.
    Export(ROBERTA),
    Export(DISTILBERT),
    Export(DISTILBERT, "gelu-untied", {"encoder": {"activation": "gelu"}, "head": UNTIED}),
    Export(ERNIE),
)


def _matrix() -> Iterator[Export]:
    """BERT's activations, tied or not, with segments or without; and single options."""
    for activation in ("gelu", "gelu_tanh", "relu", "silu", "tanh"):
        for tied in (True, False):
            for segment in (True, False):
                parts = [activation, "tied" if tied else "untied"]
                yield Export(
                    BERT if segment else DISTILBERT,
                    "-".join([*parts, "segment" if segment else "no_segment"]),
                    {
                        "encoder": {"activation": activation},
                        "embedding": {} if segment else NO_SEGMENT,
                        "head": {"tied": tied},
                    },
                    lossless=False,
                )
    for family in (BERT, ROBERTA, DISTILBERT, ERNIE):
        yield Export(family, "eager", attention="eager")
        yield Export(family, "bin", weights_format="bin")
        yield Export(family, "untied", {"head": UNTIED})
    yield Export(BERT, "no_output_bias", {"head": {"bias": False}}, lossless=False)
    yield Export(BERT, "mini", {"encoder": sizes_of(MINI)})


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
"""Models of at least 86 million parameters."""

FOUR_SEGMENTS = {"type_vocab_size": 4, "max_position_embeddings": 50}

IMPORTS = (
    Import(BERT, recipe=TIED_HEAD),
    Import(BERT, "gelu_new-untied", {"hidden_act": "gelu_new", **HF_UNTIED}, recipe=UNTIED_HEAD),
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
        {"intermediate_size": 96, "hidden_act": "silu", **FOUR_SEGMENTS},
    ),
    *(Import(family, recipe=TIED_HEAD) for family in (ROBERTA, DISTILBERT, ERNIE)),
    *(
        Import(family, "untied", HF_UNTIED, recipe=UNTIED_HEAD)
        for family in (ROBERTA, DISTILBERT, ERNIE)
    ),
    # Without a SentencePiece tokenizer it is exported as a RoBERTa.
    Import(XLM_ROBERTA, recipe=TIED_HEAD, round_trip=False),
    Import(XLM_ROBERTA, "untied", HF_UNTIED, recipe=UNTIED_HEAD, round_trip=False),
)
SLOW_IMPORTS = (
    *(Import(BERT, activation, {"hidden_act": activation}) for activation in ("gelu_new", "relu")),
    Import(BERT, "one_segment", {"type_vocab_size": 1}),
    Import(BERT, "four_segments", {"type_vocab_size": 4}),
    Import(BERT, "positions", {"max_position_embeddings": 50}),
    Import(BERT, "silu", {"intermediate_size": 96, "hidden_act": "silu"}),
    Import(BERT, "untied", HF_UNTIED),
)


def segments_not_shifted(weights: Weights) -> None:
    """transformers' segment 0 is ptm's 1, since ptm's row 0 is for padding."""
    weights["embedding.segment.weight"] = weights["embedding.segment.weight"].roll(-1, dims=0)


def _bert_like(first_position: int) -> tuple[Mistake, ...]:
    others = {first_position + 1, max(first_position - 1, 0)} - {first_position}
    return (
        *mistakes.ABSOLUTE,
        option("encoder", activation="silu"),
        option("encoder", norm_epsilon=1e-6),
        option("encoder", heads=4),
        *(option("embedding", position_offset=offset) for offset in sorted(others)),
    )


MISTAKES: dict[Family, tuple[Mistake, ...]] = {
    BERT: (
        *mistakes.ABSOLUTE,
        *(option("encoder", activation=name) for name in ("gelu_tanh", "relu", "silu", "tanh")),
        option("encoder", norm_epsilon=1e-5),
        option("encoder", heads=4),
        option("encoder", attention_scale=False),
        mistakes.weights(segments_not_shifted),
    ),
    ROBERTA: _bert_like(2),
    DISTILBERT: _bert_like(0),
    ERNIE: _bert_like(0),
}
