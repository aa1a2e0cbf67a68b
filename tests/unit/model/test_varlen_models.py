"""Every model has the same outputs and gradients by sequences as by masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ptm.components.objectives import MicroBatch
from ptm.loading.batches import step_batch
from ptm.model.build import build_plan
from ptm.model.initial_weights import initialise
from ptm.model.plain_model import empty_model
from ptm.nn.attention_choice import prepare_attention
from ptm.nn.packed_examples import PackedShape
from ptm.plan import Plan
from ptm.recipe import load_recipe
from tests.support.small_runs import PROJECT
from tests.support.varlen import each_sequence

VOCABULARY = 64
RECIPES = {
    f"{path.parent.name}-{path.stem}": path
    for path in sorted((PROJECT / "recipes").glob("*/*tiny*.yaml"))
}
MODELS = [
    *("albert-tiny", "bart-tiny", "bert-tiny", "gpt2-tiny", "llama-tiny", "modernbert-tiny"),
    *("pegasus-tiny", "prefixlm-tiny", "realformer-tiny", "t5-tiny", "t5-v1.1-tiny"),
]
ENDS = {"": ((9, 20, 24), (17,)), "decoder_": ((4, 7, 13), (9,))}
"""Ends of the examples of two rows of 24 tokens, and of 16 on the decoder's side."""
COLUMNS = {"": 24, "decoder_": 16}


def packed_inputs(plan: Plan) -> dict[str, Tensor]:
    """Packed rows with padding; the targets are those of real tokens."""
    torch.manual_seed(0)
    grids: dict[str, Tensor] = {}
    for side, ends in ENDS.items():
        ids, positions, segments = (
            torch.zeros(len(ends), COLUMNS[side], dtype=torch.long) for _ in range(3)
        )
        for row, of_row in enumerate(ends):
            for number, (begin, end) in enumerate(zip((0, *of_row), of_row, strict=False), 1):
                ids[row, begin:end] = number
                positions[row, begin:end] = torch.arange(end - begin)
                segments[row, begin:end] = 2
                segments[row, begin : (begin + end) // 2] = 1
        grids |= {f"{side}example_ids": ids, f"{side}position_ids": positions}
        grids |= {f"{side}segment_ids": segments}
        grids[f"{side}input_ids"] = torch.randint(VOCABULARY, ids.shape) * (ids > 0)
    last = "decoder_" if "decoder_input_ids" in plan.inputs else ""
    real = grids[f"{last}example_ids"] > 0
    grids["target_weights"] = real.long()
    grids["target_ids"] = torch.randint(VOCABULARY, real.shape)
    chosen = real.flatten().nonzero().flatten()[::3]
    return {name: chosen if name.endswith("_positions") else grids[name] for name in plan.inputs}


def outputs_and_gradients(name: Path, implementation: str) -> list[Tensor]:
    recipe = load_recipe(str(name))
    plan = build_plan(recipe.model, recipe.objective, vocabulary_size=VOCABULARY)
    model = empty_model(plan).eval()
    initialise(model, recipe.model, seed=1)
    if implementation == "varlen":
        packed = prepare_attention(model, "varlen", varlen=each_sequence)
        packed.shape = PackedShape(examples_per_row=3, longest=24, fills_rows=False)
    outputs = list(model(packed_inputs(plan)).values())
    torch.manual_seed(2)
    loss = sum((one * torch.randn_like(one)).sum() for one in outputs)
    assert isinstance(loss, Tensor)
    used = [one for one in model.parameters() if one.requires_grad]
    return [*outputs, *torch.autograd.grad(loss, used, materialize_grads=True)]


@pytest.mark.parametrize("name", MODELS)
def test_a_model_has_the_same_outputs_and_gradients(name: str) -> None:
    by_mask = outputs_and_gradients(RECIPES[name], "masks")
    by_sequence = outputs_and_gradients(RECIPES[name], "varlen")
    for expected, found in zip(by_mask, by_sequence, strict=True):
        # Gradients are sums over tokens and, in ALBERT, layers: relative to their largest value.
        largest = max(1.0, float(expected.detach().abs().max()))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6 * largest)


def test_a_row_without_examples_is_within_the_bound_of_lengths() -> None:
    ids = np.array([[1, 1, 2, 2, 3, 3]])
    tensors = {"example_ids": ids, "segment_ids": np.ones_like(ids)}
    part = MicroBatch(tensors, counts={}, rows=1, examples=3, tokens=6)
    objective = load_recipe(str(RECIPES["gpt2-tiny"])).objective
    batch = step_batch([part], objective, micro_batch_size=2)
    assert batch.packed_shape.longest == 6
    assert step_batch([part], objective, micro_batch_size=1).packed_shape.longest == 2
