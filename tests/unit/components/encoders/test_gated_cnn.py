"""The encoder gated_cnn: its layers, options and initial weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from ptm.components.embeddings import EmbeddingConfig
from ptm.components.encoders.gated_cnn import GatedCnn
from ptm.components.objectives.lm import Lm
from ptm.model.build import build_plan
from ptm.model.initial_weights import InitialWeights
from ptm.plan import Plan
from ptm.recipe.model_block import InitBlock, ModelBlock


def block_of(**options: Any) -> ModelBlock:
    given = {"type": "gated_cnn", "hidden_size": 24, "layers": 5, **options}
    return ModelBlock(
        embedding=EmbeddingConfig(parts=("word",), layer_norm=False, size=16),
        encoder=GatedCnn.model_validate(given),
        init=InitBlock(residual_scaling=True),
    )


def plan_of(block: ModelBlock) -> Plan:
    return build_plan(block, Lm(type="lm"), vocabulary_size=40)


def test_one_layer_reads_the_embedding_and_two_are_in_each_block() -> None:
    shapes = plan_of(block_of()).parameter_shapes
    layers = {name: shape for name, shape in shapes.items() if name.startswith("encoder_")}
    weight, bias = (48, 4 * 24), (48,)
    assert layers == {
        "encoder_00.weight": (48, 4 * 16),
        "encoder_00.bias": bias,
        **{
            f"encoder_{block:02}.{layer}.{name}": shape
            for block in (1, 2)
            for layer in ("first", "second")
            for name, shape in (("weight", weight), ("bias", bias))
        },
    }
    assert all(step.block for step in plan_of(block_of()).operations if "encoder" in step.name)


def test_kernel_size_and_bias_change_the_shapes() -> None:
    shapes = plan_of(block_of(kernel_size=3, bias=False)).parameter_shapes
    assert shapes["encoder_01.second.weight"] == (48, 3 * 24)
    assert not [name for name in shapes if name.endswith("bias")]


def test_only_the_last_layer_of_a_block_has_smaller_initial_weights() -> None:
    block = block_of()
    weights = InitialWeights(plan_of(block), block, seed=1)
    scales = {name: float(weights[name].std()) for name in weights.names if "weight" in name}
    assert scales["encoder_01.first.weight"] == pytest.approx(0.02, rel=0.1)
    assert scales["encoder_02.second.weight"] == pytest.approx(0.02 / 2**0.5, rel=0.1)
    assert not torch.cat([weights[n] for n in weights.names if n.endswith("bias")]).any()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layers": 4}, "layers = 4 is even"),
        ({"visibility": "full"}, "visibility"),
        ({"kernel_size": 1}, "kernel_size"),
    ],
    ids=str,
)
def test_options_without_a_meaning_are_rejected(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        block_of(**options)
