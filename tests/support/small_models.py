"""A small masked language model, and batches for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from ptm.components.objectives.mlm import Mlm
from ptm.model.build import build_plan
from ptm.model.initial_weights import initialise
from ptm.model.plain_model import PlainModel, empty_model
from ptm.plan import Plan
from ptm.recipe.model_block import ModelBlock

VOCABULARY = 50


def block_of(**changes: Any) -> ModelBlock:
    """A model block of two small layers; `changes` override `embedding`, `init` or encoder keys."""
    blocks = {name: changes.pop(name) for name in ("embedding", "init") if name in changes}
    encoder = {
        "type": "transformer",
        "layers": 2,
        "hidden_size": 32,
        "heads": 2,
        "feed_forward_size": 64,
        **changes,
    }
    return ModelBlock.model_validate({"encoder": encoder, **blocks})


def mlm_of(**head: bool) -> Mlm:
    return Mlm.model_validate({"type": "mlm", "head": head})


def plan_of(block: ModelBlock, objective: Mlm | None = None) -> Plan:
    return build_plan(block, objective or mlm_of(), vocabulary_size=VOCABULARY)


MakeModel = Callable[..., PlainModel]


@pytest.fixture
def make_model() -> MakeModel:
    """Build a model from a block, with random values in all parameters, biases and norms too."""

    def make(block: ModelBlock, objective: Mlm | None = None) -> PlainModel:
        model = empty_model(plan_of(block, objective))
        initialise(model, block, seed=1)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.empty_like(parameter).normal_(0, 0.2, generator=generator))
        return model.eval()

    return make


def rows_of(rows: list[list[list[int]]], *, columns: int) -> dict[str, Tensor]:
    """Tensors of rows of examples, given as token ids; all tokens are predicted."""
    names = ("input_ids", "position_ids", "segment_ids", "example_ids")
    tensors = {name: torch.zeros(len(rows), columns, dtype=torch.int64) for name in names}
    for index, row in enumerate(rows):
        at = 0
        for number, ids in enumerate(row, start=1):
            span = (index, slice(at, at + len(ids)))
            tensors["input_ids"][span] = torch.tensor(ids)
            tensors["position_ids"][span] = torch.arange(len(ids))
            tensors["segment_ids"][span] = 1
            tensors["example_ids"][span] = number
            at += len(ids)
    tensors["predicted_positions"] = tensors["example_ids"].flatten().nonzero().flatten()
    return tensors


def logits_of(model: PlainModel, tensors: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        return model(tensors)["logits"]
