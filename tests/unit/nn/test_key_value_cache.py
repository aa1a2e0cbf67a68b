"""Decoding token by token with a cache gives the same logits as one call."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ptm.components.embeddings import EmbeddingConfig
from ptm.components.encoders.transformer import Rotary, Transformer
from ptm.components.objectives.lm import Lm
from ptm.components.transformer_stack import PositionBias
from ptm.model.build import build_plan
from ptm.model.plain_model import PlainModel
from ptm.nn.key_value_cache import use_cache
from ptm.recipe.model_block import ModelBlock

VOCABULARY = 50
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "grouped and rotary": {"key_value_heads": 2, "rotary": Rotary()},
    "relative": {"position_bias": PositionBias(buckets=8, max_distance=16)},
    "windowed": {"window": 4},
    "prefix": {"visibility": "prefix"},
}


def model_of(options: dict[str, Any]) -> PlainModel:
    torch.manual_seed(0)
    encoder = Transformer.model_validate(
        {
            "type": "transformer",
            "hidden_size": 32,
            "layers": 2,
            "heads": 4,
            "feed_forward_size": 48,
            "visibility": "causal",
            **options,
        }
    )
    block = ModelBlock(embedding=EmbeddingConfig(parts=("word", "position")), encoder=encoder)
    plan = build_plan(block, Lm(type="lm"), vocabulary_size=VOCABULARY, outputs=("logits",))
    model = PlainModel(plan).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def inputs(rows: int, length: int) -> dict[str, torch.Tensor]:
    ones = torch.ones(rows, length, dtype=torch.int64)
    segments = 2 * ones
    segments[:, :3] = 1
    return {
        "input_ids": torch.randint(VOCABULARY, (rows, length)),
        "position_ids": torch.arange(length).expand(rows, -1),
        "segment_ids": segments,
        "example_ids": ones,
    }


def part(tensors: dict[str, torch.Tensor], begin: int, end: int) -> dict[str, torch.Tensor]:
    return {name: tensor[:, begin:end] for name, tensor in tensors.items()}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_decoding_token_by_token_equals_one_call(options: dict[str, Any]) -> None:
    model, tensors = model_of(options), inputs(2, 11)
    with torch.no_grad():
        whole = model(tensors)["logits"]
        with use_cache(model):
            cuts = [(0, 5), *((at, at + 1) for at in range(5, 11))]
            found = [model(part(tensors, *cut))["logits"] for cut in cuts]
        torch.testing.assert_close(torch.cat(found, dim=1), whole, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model(tensors)["logits"], whole)


def test_left_padded_rows_have_the_same_logits_as_alone() -> None:
    model, tensors = model_of({"rotary": Rotary()}), inputs(1, 6)
    padded = {name: torch.nn.functional.pad(tensor, (3, 0)) for name, tensor in tensors.items()}
    with torch.no_grad(), use_cache(model):
        found = [model(part(padded, *cut))["logits"] for cut in [(0, 7), (7, 8), (8, 9)]]
    with torch.no_grad():
        alone = model(tensors)["logits"]
    torch.testing.assert_close(torch.cat(found, dim=1)[:, 3:], alone, rtol=1e-4, atol=1e-5)


def test_reordered_rows_continue_from_their_own_cache() -> None:
    model, tensors = (
        model_of({"position_bias": PositionBias(buckets=8, max_distance=16)}),
        inputs(3, 7),
    )
    chosen = torch.tensor([2, 0, 0])
    with torch.no_grad():
        with use_cache(model) as caches:
            model(part(tensors, 0, 6))
            for cache in caches:
                cache.reorder(chosen)
            last = {name: tensor[chosen, 6:] for name, tensor in tensors.items()}
            found = model(last)["logits"]
        picked = {name: tensor[chosen] for name, tensor in tensors.items()}
        torch.testing.assert_close(found, model(picked)["logits"][:, 6:], rtol=1e-4, atol=1e-5)
