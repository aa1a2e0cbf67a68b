"""Encoder-decoders have the same losses and gradients with both sides packed apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from ptm.components.objectives import MicroBatch
from ptm.loading.batches import StepBatch, step_batch
from ptm.model.build import build_plan
from ptm.model.flops import FlopCounter
from ptm.model.initial_weights import initialise
from ptm.model.plain_model import empty_model
from ptm.nn.attention_choice import Implementation, prepare_attention
from ptm.recipe import Recipe, load_recipe
from tests.support.packed_pairs import packed_pairs
from tests.support.small_runs import PROJECT
from tests.support.varlen import each_sequence

VOCABULARY = 64
MODELS = ("bart", "pegasus", "t5", "t5-v1.1", "translation")
SHORT_SOURCES, SHORT_TARGETS = (0.2, 1.0), (1.0, 0.3)


def recipe_of(name: str) -> Recipe:
    return load_recipe(str(PROJECT / "recipes" / name / "tiny.yaml"))


def micro_batches(fills: tuple[float, float], counts: tuple[int, ...]) -> list[MicroBatch]:
    """Micro-batches of random pairs, shorter on one side by the factors `fills`."""
    draws = np.random.default_rng(5)
    found = []
    for count in counts:
        lengths = draws.integers(3, 33, count)
        pairs = [(max(1, int(2 * n * fills[0])), max(1, int(n * fills[1]))) for n in lengths]
        tensors = packed_pairs(pairs, vocabulary=VOCABULARY)
        predicted = int(tensors["target_weights"].sum())
        tokens = int(sum(map(sum, pairs)))
        rows = len(tensors["example_ids"])
        found.append(MicroBatch(tensors, {"predicted": predicted}, rows, count, tokens))
    return found


def sums_and_gradients(
    name: str, batch: StepBatch, attention: Implementation, *, apart: bool
) -> list[Tensor]:
    recipe = recipe_of(name)
    plan = build_plan(recipe.model, recipe.objective, vocabulary_size=VOCABULARY, sides_apart=apart)
    model = empty_model(plan).eval()
    initialise(model, recipe.model, seed=1)
    packed = prepare_attention(model, attention, varlen=each_sequence)
    packed.shape = batch.packed_shape
    totals = torch.zeros(())
    for tensors in batch.micro_batches:
        sums = recipe.objective.metric_sums(model(tensors), tensors)
        totals = totals + torch.stack(list(sums.values()))
    (totals[0] / batch.counts["predicted"]).backward()
    return [totals.detach(), *(one.grad for one in model.parameters() if one.grad is not None)]


@pytest.mark.parametrize(
    ("attention", "fills"), [("sdpa", SHORT_SOURCES), ("varlen", SHORT_TARGETS)]
)
@pytest.mark.parametrize("name", MODELS)
def test_sides_packed_apart_have_the_losses_and_gradients_of_rows_of_pairs(
    name: str, attention: Implementation, fills: tuple[float, float]
) -> None:
    objective = recipe_of(name).objective
    parts = micro_batches(fills, (24, 7))
    together, apart = (step_batch(parts, objective, apart=one) for one in (False, True))
    shape = apart.packed_shape
    assert min(shape.source_rows, shape.target_rows) < parts[0].rows
    # oneDNN rounds the sums over rows by their number, which differs.
    with torch.backends.mkldnn.flags(enabled=False):
        expected = sums_and_gradients(name, together, "sdpa", apart=False)
        found = sums_and_gradients(name, apart, attention, apart=True)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=4e-6 * float(other.abs().max()))


def test_sides_packed_apart_need_as_many_operations() -> None:
    recipe, parts = recipe_of("t5"), micro_batches(SHORT_SOURCES, (24,))
    counted = []
    for apart in (False, True):
        plan = build_plan(
            recipe.model, recipe.objective, vocabulary_size=VOCABULARY, sides_apart=apart
        )
        sizes = step_batch(parts, recipe.objective, apart=apart).sizes
        counted.append(FlopCounter(plan).training(sizes))
    assert counted[0] == counted[1] > 0
