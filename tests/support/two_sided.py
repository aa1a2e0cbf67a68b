"""Encoder-decoders with random weights on both sides, and rows of two sides, as in `bert_pairs`."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForSeq2SeqLM

from ptm.interop.hf.export import export_to_huggingface
from ptm.model.build import PlainModel, build_plan
from ptm.model.loaded import loaded_model
from ptm.nn.init import norm_parameters
from ptm.plan import Plan
from ptm.recipe import Recipe
from tests.support.bert_pairs import (
    LARGEST_LOGIT,
    laid_out,
    random_value,
    random_weights,
    recipe_of,
    write_model,
)

WIDTH, HEADS, INNER = 64, 2, 96
LAYERS, DECODER_LAYERS = 2, 3
LONGEST = 40

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
_WORDS = {"of": ["word"], "layer_norm": False}
_BART = {"of": ["word", "position"], "positions": 66, "position_offset": 2}
_PEGASUS = {"of": ["word", "sinusoidal"], "layer_norm": False, "scaled": True, "positions": 64}


@dataclass(frozen=True)
class Case:
    """What the recipe of one says besides sizes."""

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


@dataclass(frozen=True)
class Sides:
    """Examples of a source and a target."""

    sources: tuple[Tensor, ...]
    targets: tuple[Tensor, ...]

    def rows(self, examples: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        """The tensors of both sides, the named examples together in a row."""
        source, target = (
            laid_out([[side[number] for number in row] for row in examples]).tensors
            for side in (self.sources, self.targets)
        )
        names = ("input_ids", "position_ids", "segment_ids", "example_ids")
        return {name: source[name] for name in names} | {
            f"decoder_{name}": target[name] for name in names
        }

    @property
    def alone(self) -> dict[str, Tensor]:
        """One example a row, padded."""
        return self.rows([[number] for number in range(len(self.sources))])

    @property
    def packed(self) -> dict[str, Tensor]:
        """Two examples a row."""
        numbers = range(0, len(self.sources), 2)
        return self.rows([[n, n + 1] for n in numbers])


def sides_of(words: int, *, examples: int = 6, seed: int = 0) -> Sides:
    """Examples of ordinary tokens, of many lengths on either side."""
    generator = torch.Generator().manual_seed(seed)

    def side(fewest: int) -> tuple[Tensor, ...]:
        lengths = torch.linspace(fewest, LONGEST, examples).long()
        order = torch.randperm(examples, generator=generator)
        return tuple(
            torch.randint(5, words, (int(lengths[n]),), generator=generator) for n in order
        )

    return Sides(side(3), side(5))


def plan_of(recipe: Recipe) -> Plan:
    """The plan whose output is logits."""
    size = recipe.tokenizer.load().vocabulary.size
    return build_plan(recipe.model, recipe.objective, vocabulary_size=size, outputs=("logits",))


def ptm_logits(model: PlainModel, tensors: dict[str, Tensor]) -> Tensor:
    """(N, V): the logits at every target token, row after row."""
    with torch.no_grad():
        logits = model(tensors)["logits"]
    return logits[tensors["decoder_example_ids"] > 0]


def hf_logits(model: nn.Module, sides: Sides) -> Tensor:
    """(N, V) of transformers' model, every example by itself."""
    with torch.no_grad():
        return torch.cat(
            [
                model(input_ids=source[None], decoder_input_ids=target[None]).logits[0]
                for source, target in zip(sides.sources, sides.targets, strict=True)
            ]
        )


def hf_logits_padded(model: nn.Module, tensors: dict[str, Tensor]) -> Tensor:
    """(N, V) of transformers' model, all examples at once, what is padding on the source masked."""
    with torch.no_grad():
        logits = model(
            input_ids=tensors["input_ids"],
            attention_mask=(tensors["example_ids"] > 0).long(),
            decoder_input_ids=tensors["decoder_input_ids"],
        ).logits
    return logits[tensors["decoder_example_ids"] > 0]


def last_norm(names: Sequence[str]) -> str:
    """The canonical name of the norm right before the output."""
    if "decoder_norm.weight" in names:
        return "decoder_norm"
    return f"decoder_{DECODER_LAYERS - 1:02}.feed_forward_norm"


def with_small_queries(weights: dict[str, Tensor], recipe: Recipe) -> dict[str, Tensor]:
    """As T5 begins with: where attention does not scale its scores, queries make up for it."""
    shape = recipe.model.encoder.head_shape
    if shape.scaled:
        return weights
    found = {name: tensor.clone() for name, tensor in weights.items()}
    for name, tensor in found.items():
        if name.endswith(("attention.qkv.weight", "cross_attention.query.weight")):
            tensor[: shape.query_width].mul_(shape.head_size**-0.5)
    return found


@dataclass(frozen=True)
class TwoSided:
    """One model, here and in transformers."""

    blocks: dict[str, Any]
    weights: dict[str, Tensor]
    ours: PlainModel
    theirs: nn.Module
    folder: Path
    sides: Sides

    @cached_property
    def expected(self) -> Tensor:
        """(N, V) of transformers' model, every example by itself."""
        return hf_logits(self.theirs, self.sides)


def exported_pair(
    folder: Path, blocks: dict[str, Any], *, sharpened: Mapping[str, float] | None = None
) -> TwoSided:
    """A random model whose largest logit is 5, exported and loaded by transformers.

    `sharpened`: endings of names, and how much larger these tensors are.
    """
    recipe = recipe_of(blocks)
    plan = plan_of(recipe)
    sides = sides_of(recipe.tokenizer.load().vocabulary.size)
    weights = with_small_queries(random_weights(plan), recipe)
    for ending, factor in (sharpened or {}).items():
        for name in weights:
            if name.endswith(ending):
                weights[name] = weights[name] * factor
    largest = ptm_logits(loaded_model(plan, weights, source="random"), sides.packed).abs().max()
    norm = last_norm(list(weights))
    head = (f"{norm}.weight", f"{norm}.bias", "lm_bias.bias")
    weights = {n: w * (LARGEST_LOGIT / largest) if n in head else w for n, w in weights.items()}
    source = write_model(folder / "model", blocks, weights)
    export_to_huggingface(source, folder / "export", weights_format="safetensors")
    theirs, info = AutoModelForSeq2SeqLM.from_pretrained(
        folder / "export", output_loading_info=True
    )
    assert not any(info.values()), info
    return TwoSided(
        blocks=blocks,
        weights=weights,
        ours=loaded_model(plan, weights, source="random"),
        theirs=theirs.eval(),
        folder=folder / "export",
        sides=sides,
    )


def changed(pair: TwoSided, block: str, **changes: Any) -> PlainModel:
    """The same weights in a model whose recipe says something else."""
    blocks: Any = copy.deepcopy(pair.blocks)
    place = blocks["model"] if block != "head" else blocks["objective"]
    place[block] = {**place[block], **changes}
    return loaded_model(plan_of(recipe_of(blocks)), pair.weights, source="changed")


def random_theirs(model: nn.Module, sides: Sides) -> nn.Module:
    """transformers' model with random weights everywhere, the largest logit being 5."""
    model = model.eval()
    norms = set(norm_parameters(model)) | {
        n for n, _ in model.named_parameters() if n.endswith("norm.weight")
    }
    with torch.no_grad():
        for seed, (name, parameter) in enumerate(model.named_parameters()):
            if parameter.requires_grad:
                is_table = "shared" in name or "embed_" in name
                is_norm = name in norms and name.endswith("weight")
                parameter.copy_(
                    random_value(parameter.shape, is_norm=is_norm, is_table=is_table, seed=seed)
                )
        bias = getattr(model, "final_logits_bias", None)
        if bias is not None:
            bias.copy_(0.1 * random_value(bias[0].shape, is_norm=False, is_table=False, seed=99))
        factor = LARGEST_LOGIT / hf_logits(model, sides).abs().max()
        norm = _their_last_norm(model)
        for part in (*norm.parameters(), *([] if bias is None else [bias])):
            part.mul_(factor)
    return model


def _their_last_norm(model: nn.Module) -> nn.Module:
    decoder = model.get_decoder()
    for name in ("final_layer_norm", "layer_norm"):
        if hasattr(decoder, name):
            return decoder.get_submodule(name)
    return decoder.layers[-1].final_layer_norm
