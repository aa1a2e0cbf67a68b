"""Models of families beside BERT with random weights, there and here, as in `bert_pairs`."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ptm.interop.importing import import_from_huggingface
from ptm.interop.source import open_source
from ptm.model.build import PlainModel
from ptm.model.loaded import loaded_model
from ptm.nn.init import norm_parameters
from ptm.recipe import Recipe
from tests.support.bert_pairs import (
    LARGEST_LOGIT,
    Pair,
    Rows,
    difference,
    hf_logits_alone,
    plan_of,
    ptm_logits,
    random_value,
    recipe_of,
)

Weights = dict[str, Tensor]


def random_theirs(model: nn.Module, examples: list[Tensor], *, head: nn.Module) -> nn.Module:
    """`model` with random weights everywhere; the norm of its `head` makes the largest logit 5.

    `head` holds the last norm, and the bias of the output where that is random.
    """
    model = model.eval()
    norms = set(norm_parameters(model))
    with torch.no_grad():
        for seed, (name, parameter) in enumerate(model.named_parameters()):
            is_norm = name in norms and name.endswith("weight")
            is_table = "embeddings." in name
            parameter.copy_(
                random_value(parameter.shape, is_norm=is_norm, is_table=is_table, seed=seed)
            )
        for bias in outputs(model):
            bias.mul_(0.1)
        factor = LARGEST_LOGIT / hf_logits_alone(model, examples).abs().max()
        for part in (*head.parameters(), *outputs(model)):
            part.mul_(factor)
    return model


def outputs(model: nn.Module) -> list[nn.Parameter]:
    """The biases of the vocabulary, each once."""
    found = {id(p): p for n, p in model.named_parameters() if n.endswith("bias")}
    vocabulary = model.config.vocab_size
    return [p for p in found.values() if p.shape == (vocabulary,)]


def imported(model: nn.Module, vocab: Path, folder: Path) -> tuple[PlainModel, Recipe]:
    """What save_pretrained writes of `model`, through `ptm import`."""
    model.save_pretrained(folder / "theirs")
    shutil.copyfile(vocab, folder / "theirs" / "vocab.txt")
    import_from_huggingface(str(folder / "theirs"), folder / "out")
    source = open_source(str(folder / "out"))
    recipe = source.recipe()
    return loaded_model(plan_of(recipe), source.tensors(), source="imported"), recipe


def apart(pair: Pair, model: PlainModel, rows: Rows) -> float:
    """How far `model` on `rows` is from the pair's model in transformers."""
    return difference(ptm_logits(model, rows), hf_logits_alone(pair.theirs, pair.examples))


def with_options(pair: Pair, block: str, **changes: Any) -> PlainModel:
    """The pair's weights in a model whose recipe says something else of `block`."""
    blocks: Any = copy.deepcopy(dict(pair.blocks))
    blocks["model"][block].update(changes)
    return loaded_model(plan_of(recipe_of(blocks)), pair.weights, source="changed")


def with_weights(pair: Pair, change: Callable[[Weights], None]) -> PlainModel:
    """The pair's recipe with weights that `change` has changed."""
    weights = {name: tensor.clone() for name, tensor in pair.weights.items()}
    change(weights)
    return loaded_model(pair.ours.plan, weights, source="changed")
