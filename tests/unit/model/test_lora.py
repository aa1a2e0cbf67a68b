"""LoRA on plans of every kind of layer: the adapted model computes what the merged weights do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ptm.components.adapters.lora import Lora
from ptm.errors import UserError
from ptm.model.build import build_plan
from ptm.model.initial_weights import InitialWeights
from ptm.model.plain_model import PlainModel, loaded_model
from ptm.plan import Plan
from ptm.recipe import Recipe, load_recipe
from tests.conftest import PROJECT

SIZE = 60
TEXT = ("gpt2", "albert", "realformer", "llama", "t5")


def recipe_of(family: str) -> Recipe:
    path = str(PROJECT / "recipes" / family / "tiny.yaml")
    return load_recipe(path, ["data.corpus=x", "data.store=x", "model.dropout=0.0"])


def plan_of(recipe: Recipe, *, size: int = SIZE) -> Plan:
    """The plan up to the encoder's or decoder's output."""
    plan = build_plan(recipe.model, recipe.objective, vocabulary_size=size)
    last = max(index for index, step in enumerate(plan.operations) if step.block)
    return Plan(plan.operations[: last + 1], ("hidden",))


def lora(**options: Any) -> Lora:
    return Lora.model_validate({"type": "lora", "r": 3, **options})


def inputs_of(plan: Plan) -> dict[str, torch.Tensor]:
    """Two rows of two examples and padding, on both sides of a decoder."""
    ids = torch.tensor([[1] * 5 + [2] * 4 + [0], [1] * 3 + [2] * 6 + [0]])
    dice = np.random.default_rng(1)
    found = {}
    for name in plan.inputs:
        if name.endswith("example_ids"):
            found[name] = ids
        elif name.endswith("segment_ids"):
            found[name] = (ids > 0).long()
        elif name.endswith("position_ids"):
            found[name] = torch.arange(10).repeat(2, 1)
        else:
            found[name] = torch.from_numpy(dice.integers(1, SIZE, (2, 10)))
    return found


@pytest.mark.parametrize("family", TEXT)
def test_an_adapted_model_computes_what_merged_weights_do(family: str) -> None:
    recipe = recipe_of(family)
    plan = plan_of(recipe)
    targets = ["query", "value", "output", "down", *(["gate"] if family == "llama" else ["up"])]
    adapter = lora(lora_alpha=5.0, target_modules=targets)
    adapted = adapter.adapted(plan)
    first = InitialWeights(adapted, recipe.model, seed=1)
    model = PlainModel(adapted).eval()
    weights = {}
    for name, parameter in model.named_parameters():
        # A training starts with a B of zeros.
        assert name.endswith("_B") <= (not first[name].any())
        weights[name] = torch.randn(parameter.shape) * 0.1
        parameter.data.copy_(weights[name])
    merged = {name: tensor.clone() for name, tensor in weights.items() if ".lora." not in name}
    for name, updates in adapter.updates(adapted).items():
        for one in updates:
            rows = merged[name][one.start : one.start + one.count]
            rows += 5.0 / 3 * weights[one.b] @ weights[one.a]
    plain = loaded_model(plan, merged, source="x")
    tensors = inputs_of(plan)
    with torch.no_grad():
        found, expected = model(tensors)["hidden"], plain(tensors)["hidden"]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    unmerged = loaded_model(plan, weights, source="x")
    with torch.no_grad():
        assert float((unmerged(tensors)["hidden"] - expected).abs().max()) > 1e-2


def test_cross_attention_has_updates_and_patterns_choose_layers() -> None:
    plan = plan_of(recipe_of("t5"))
    adapter = lora(target_modules=["value", "decoder_00.cross_attention.key"])
    names = adapter.updates(adapter.adapted(plan))
    of_parts = {name: [one.part for one in updates] for name, updates in names.items()}
    assert of_parts["decoder_00.cross_attention.key_value.weight"] == ["key", "value"]
    assert of_parts["decoder_01.cross_attention.key_value.weight"] == ["value"]
    assert of_parts["encoder_00.attention.qkv.weight"] == ["value"]


def test_a_rank_above_the_smaller_side_of_a_matrix_is_an_error() -> None:
    plan = plan_of(recipe_of("gpt2"))
    sides = plan.parameter_shapes["encoder_00.feed_forward.up.weight"]
    smaller = min(sides)
    targets = ["encoder_00.feed_forward.up"]
    lora(r=smaller, target_modules=targets).adapted(plan)
    message = rf"^adapter\.r: {smaller + 1} is larger than .* encoder_00\.feed_forward\.up \("
    with pytest.raises(UserError, match=message):
        lora(r=smaller + 1, target_modules=targets).adapted(plan)
    lora(target_modules=["query"]).adapted(plan)


def test_a_model_without_matrices_to_adapt_is_an_error() -> None:
    recipe = load_recipe(
        str(PROJECT / "recipes/quickstart/roberta-tiny.yaml"),
        ["model.encoder={type: lstm, layers: 1, hidden_size: 32, bidirectional: true}"],
    )
    plan = build_plan(recipe.model, recipe.objective, vocabulary_size=SIZE)
    with pytest.raises(UserError, match=r"no matrices that LoRA can update"):
        lora().adapted(plan)
