"""The comparison with transformers notices every mistake it is there for."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ptm.model.build import PlainModel
from ptm.model.loaded import loaded_model
from tests.support.bert_pairs import (
    TINY,
    TOLERANCE,
    Pair,
    Rows,
    blocks_of,
    difference,
    hf_logits_alone,
    make_pair,
    packed,
    plan_of,
    ptm_logits,
    recipe_of,
)

Weights = dict[str, Tensor]
HEAD_WIDTH = TINY.width // TINY.heads


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, bundled_texts: list[str], bundled_vocab: Path
) -> Pair:
    blocks = blocks_of(bundled_vocab, TINY)
    return make_pair(tmp_path_factory.mktemp("pair"), blocks, bundled_texts)


@pytest.fixture(scope="module")
def rows(pair: Pair) -> Rows:
    return packed(pair.examples, columns=128)


@pytest.fixture(scope="module")
def theirs(pair: Pair) -> Tensor:
    return hf_logits_alone(pair.theirs, pair.examples)


def with_encoder(pair: Pair, **changes: Any) -> PlainModel:
    """The same weights in a model whose recipe says something else."""
    blocks: Any = copy.deepcopy(dict(pair.blocks))
    blocks["model"]["encoder"].update(changes)
    return loaded_model(plan_of(recipe_of(blocks)), pair.weights, source="changed")


def with_weights(pair: Pair, change: Callable[[Weights], None]) -> PlainModel:
    """The same recipe with weights that `change` has changed."""
    weights = {name: tensor.clone() for name, tensor in pair.weights.items()}
    change(weights)
    return loaded_model(pair.ours.plan, weights, source="changed")


def test_without_a_mistake_there_is_no_difference(pair: Pair, rows: Rows, theirs: Tensor) -> None:
    unchanged = with_weights(pair, lambda weights: None)
    assert difference(ptm_logits(unchanged, rows), theirs) <= TOLERANCE
    assert difference(ptm_logits(with_encoder(pair), rows), theirs) <= TOLERANCE


@pytest.mark.parametrize("activation", ["gelu_tanh", "relu", "silu", "tanh"])
def test_another_activation_shows(pair: Pair, rows: Rows, theirs: Tensor, activation: str) -> None:
    wrong = with_encoder(pair, activation=activation)
    assert difference(ptm_logits(wrong, rows), theirs) > TOLERANCE


@pytest.mark.parametrize(
    "place", ["encoder_00.feed_forward", "encoder_01.feed_forward", "mlm_transform"]
)
def test_another_activation_in_one_place_shows(
    pair: Pair, rows: Rows, theirs: Tensor, place: str
) -> None:
    wrong = copy.deepcopy(pair.ours)
    wrong.get_submodule(place).activation = "gelu_tanh"  # type: ignore[assignment]
    assert difference(ptm_logits(wrong, rows), theirs) > TOLERANCE


def test_another_epsilon_shows(pair: Pair, rows: Rows, theirs: Tensor) -> None:
    wrong = with_encoder(pair, norm_epsilon=1e-5)
    assert difference(ptm_logits(wrong, rows), theirs) > TOLERANCE


@pytest.mark.parametrize(
    ("norm", "epsilon"),
    [
        # The embedding's norm reads small tables; the others read values of about 1.
        ("embedding.norm", 1e-6),
        ("encoder_00.attention_norm", 1e-3),
        ("encoder_00.feed_forward_norm", 1e-3),
        ("encoder_01.attention_norm", 1e-3),
        ("encoder_01.feed_forward_norm", 1e-3),
        ("mlm_transform.norm", 1e-3),
    ],
)
def test_another_epsilon_of_one_norm_shows(
    pair: Pair, rows: Rows, theirs: Tensor, norm: str, epsilon: float
) -> None:
    wrong = copy.deepcopy(pair.ours)
    wrong.get_submodule(norm).eps = epsilon  # type: ignore[assignment]
    assert difference(ptm_logits(wrong, rows), theirs) > TOLERANCE


def test_positions_off_by_one_show(pair: Pair, rows: Rows, theirs: Tensor) -> None:
    wrong = {**rows.tensors, "position_ids": rows.tensors["position_ids"] + 1}
    assert difference(ptm_logits(pair.ours, Rows(wrong, rows.examples)), theirs) > TOLERANCE


def test_positions_that_do_not_begin_anew_in_a_packed_row_show(
    pair: Pair, rows: Rows, theirs: Tensor
) -> None:
    columns = rows.tensors["input_ids"].shape[1]
    running = torch.arange(columns).expand_as(rows.tensors["input_ids"])
    wrong = {**rows.tensors, "position_ids": running}
    assert difference(ptm_logits(pair.ours, Rows(wrong, rows.examples)), theirs) > TOLERANCE


def test_examples_that_see_each_other_show(pair: Pair, rows: Rows, theirs: Tensor) -> None:
    one = (rows.tensors["example_ids"] > 0).long()
    wrong = {**rows.tensors, "example_ids": one}
    assert difference(ptm_logits(pair.ours, Rows(wrong, rows.examples)), theirs) > TOLERANCE


def test_padding_that_is_seen_shows(pair: Pair, rows: Rows, theirs: Tensor) -> None:
    ids = rows.tensors["example_ids"]
    assert (ids == 0).any(), "there is padding"
    wrong = {**rows.tensors, "example_ids": torch.where(ids == 0, 1, ids)}
    assert difference(ptm_logits(pair.ours, Rows(wrong, rows.examples)), theirs) > TOLERANCE


def test_a_segment_row_that_is_not_shifted_shows(pair: Pair, rows: Rows, theirs: Tensor) -> None:
    """transformers' segment 0 is our 1: our row 0 is padding's."""

    def forget(weights: Weights) -> None:
        weights["embedding.segment.weight"] = weights["embedding.segment.weight"].roll(-1, dims=0)

    assert difference(ptm_logits(with_weights(pair, forget), rows), theirs) > TOLERANCE


@pytest.mark.parametrize("layer", ["encoder_00", "encoder_01"])
def test_a_missing_attention_scale_shows(
    pair: Pair, rows: Rows, theirs: Tensor, layer: str
) -> None:
    def unscale(weights: Weights) -> None:
        for kind in ("weight", "bias"):
            weights[f"{layer}.attention.qkv.{kind}"][: TINY.width] *= HEAD_WIDTH**0.5

    assert difference(ptm_logits(with_weights(pair, unscale), rows), theirs) > TOLERANCE


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 2, 1), (2, 1, 0)], ids=["q-k", "k-v", "q-v"])
@pytest.mark.parametrize("layer", ["encoder_00", "encoder_01"])
def test_swapped_query_key_or_value_show(
    pair: Pair, rows: Rows, theirs: Tensor, layer: str, order: tuple[int, ...]
) -> None:
    def swap(weights: Weights) -> None:
        for kind in ("weight", "bias"):
            name = f"{layer}.attention.qkv.{kind}"
            parts = weights[name].chunk(3)
            weights[name] = torch.cat([parts[i] for i in order])

    assert difference(ptm_logits(with_weights(pair, swap), rows), theirs) > TOLERANCE


def test_heads_cut_in_another_way_show(pair: Pair, rows: Rows, theirs: Tensor) -> None:
    assert difference(ptm_logits(with_encoder(pair, heads=4), rows), theirs) > TOLERANCE


def test_norms_before_instead_of_after_the_branches_show(
    pair: Pair, rows: Rows, theirs: Tensor
) -> None:
    wrong = copy.deepcopy(pair.ours)
    for layer in ("encoder_00", "encoder_01"):
        wrong.get_submodule(layer).pre_norm = True  # type: ignore[assignment]
    assert difference(ptm_logits(wrong, rows), theirs) > TOLERANCE


BIASES = [
    "embedding.norm.bias",
    "mlm_transform.dense.bias",
    "mlm_transform.norm.bias",
    "mlm_bias.bias",
    *(
        f"encoder_{layer:02}.{part}.bias"
        for layer in range(TINY.layers)
        for part in (
            "attention.output",
            "attention_norm",
            "feed_forward.up",
            "feed_forward.down",
            "feed_forward_norm",
        )
    ),
]


@pytest.mark.parametrize("bias", BIASES)
def test_a_dropped_bias_shows(pair: Pair, rows: Rows, theirs: Tensor, bias: str) -> None:
    def drop(weights: Weights) -> None:
        weights[bias].zero_()

    assert difference(ptm_logits(with_weights(pair, drop), rows), theirs) > TOLERANCE


@pytest.mark.parametrize("part", [0, 2], ids=["query", "value"])
def test_a_dropped_bias_of_attention_shows(
    pair: Pair, rows: Rows, theirs: Tensor, part: int
) -> None:
    """The key's has no effect: it adds the same to every score of a query."""

    def drop(weights: Weights) -> None:
        weights["encoder_01.attention.qkv.bias"].chunk(3)[part].zero_()

    assert difference(ptm_logits(with_weights(pair, drop), rows), theirs) > TOLERANCE


NORMS = [
    "embedding.norm.weight",
    "mlm_transform.norm.weight",
    *(
        f"encoder_{layer:02}.{part}.weight"
        for layer in range(TINY.layers)
        for part in ("attention_norm", "feed_forward_norm")
    ),
]


@pytest.mark.parametrize("norm", NORMS)
def test_a_norm_without_its_weight_shows(pair: Pair, rows: Rows, theirs: Tensor, norm: str) -> None:
    def forget(weights: Weights) -> None:
        weights[norm].fill_(float(weights[norm].mean()))

    assert difference(ptm_logits(with_weights(pair, forget), rows), theirs) > TOLERANCE


def test_no_bias_and_no_norm_is_left_out_here(pair: Pair) -> None:
    tried = {*BIASES, *NORMS}
    vectors = {name for name, tensor in pair.weights.items() if tensor.dim() == 1}
    assert vectors - tried == {f"encoder_{i:02}.attention.qkv.bias" for i in range(TINY.layers)}
