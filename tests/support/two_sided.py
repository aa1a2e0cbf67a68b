"""Recipes of small encoder-decoders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptm.model.build import build_plan
from ptm.plan import Plan
from ptm.recipe import ModelRecipe

WIDTH, HEADS, INNER = 64, 2, 96
LAYERS, DECODER_LAYERS = 2, 3

_SIZES = {"type": "transformer", "hidden_size": WIDTH, "heads": HEADS, "feed_forward_size": INNER}
_T5 = {
    "norm": "rms",
    "norm_position": "pre",
    "norm_epsilon": 1e-6,
    "bias": False,
    "attention_scale": False,
    "activation": "relu",
    "position_bias": {"buckets": 16, "max_distance": 20},
}
_GATED = {**_T5, "feed_forward": "gated", "activation": "gelu_tanh", "head_size": 24}
_WORDS = {"parts": ["word"], "layer_norm": False}
_BART = {"parts": ["word", "position"], "positions": 66, "position_offset": 2}
_PEGASUS = {"parts": ["word", "sinusoidal"], "layer_norm": False, "scaled": True, "positions": 64}


@dataclass(frozen=True)
class Case:
    """An encoder-decoder: the keys of its recipe, apart from sizes."""

    objective: str
    stack: Mapping[str, Any]
    embedding: Mapping[str, Any]
    head: Mapping[str, bool]

    def blocks(self, vocab: Path) -> dict[str, Any]:
        """The blocks of a recipe."""
        return {
            "tokenizer": {"type": "wordpiece", "vocab": str(vocab)},
            "data": {"corpus": "none", "layout": "sentences", "store": "", "sequence_length": 64},
            "model": {
                "embedding": dict(self.embedding),
                "encoder": {**_SIZES, "layers": LAYERS, **self.stack},
                "decoder": {**_SIZES, "layers": DECODER_LAYERS, **self.stack},
            },
            "objective": {"type": self.objective, "head": dict(self.head)},
        }


_EPSILON = {"norm_epsilon": 1e-5}
CASES = {
    "t5": Case("t5", _T5, _WORDS, {"tied": True, "scaled": True}),
    "t5-1.1": Case("t5", _GATED, _WORDS, {"tied": False}),
    "t5-unscaled": Case("t5", _T5, _WORDS, {"tied": True}),
    "bart": Case("bart", _EPSILON, _BART, {"bias": True}),
    "bart-scaled": Case(
        "bart",
        {**_EPSILON, "activation": "relu"},
        {**_BART, "scaled": True},
        {"bias": True, "tied": False},
    ),
    "pegasus": Case(
        "gsg", {**_EPSILON, "norm_position": "pre", "activation": "relu"}, _PEGASUS, {"bias": True}
    ),
}


def plan_of(recipe: ModelRecipe) -> Plan:
    """The part of a recipe's plan that computes the logits; reads the vocabulary from disk."""
    size = recipe.tokenizer.load().vocabulary.size
    return build_plan(recipe.model, recipe.objective, vocabulary_size=size, outputs=("logits",))
