"""Every layout of ranks reports the numbers of one process without ZeRO."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ptm.loading.batches import TrainStream
from ptm.recipe import load_recipe
from ptm.train.inputs import open_inputs
from tests.integration.engines.comparing import Reports, counterpart, differences, exact_ones
from tests.integration.engines.trainings import (
    CLIP,
    FOUR_RANKS,
    ONE_RANK,
    STEPS,
    TWO_RANKS,
    TWO_STAGES,
)
from tests.support.launched import Launch

WITHIN = 1e-5
"""Relative difference; the measured one is 2e-7."""


def same(found: Reports, expected: Reports) -> None:
    worst = differences(found, expected)
    assert {key: apart for key, apart in worst.items() if apart > WITHIN} == {}
    assert {"loss", "mlm_loss", "mlm_accuracy", "grad_norm", "tokens", "examples"} <= worst.keys()
    assert worst["tokens"] == worst["examples"] == worst["learning_rate"] == 0
    assert [one["step"] for one in found if one["split"] == "eval"] == [STEPS // 2, STEPS]


def test_micro_batches_differ_five_fold_in_predicted_tokens(store: Path, tmp_path: Path) -> None:
    recipe, *overrides = ONE_RANK[0].arguments(store, tmp_path)
    inputs = open_inputs(load_recipe(recipe, overrides))
    assert (inputs.batch.accumulation, inputs.batch.micro_batch_size) == (4, 2)
    stream = TrainStream(inputs.train, inputs.batch, data_parallel_rank=0).steps(0)
    unlike = 0
    for _, batch in zip(range(STEPS), stream, strict=False):
        predicted = [int(part["predicted_weights"].sum()) for part in batch.micro_batches]
        assert sum(predicted) == batch.counts["predicted"]
        unlike += max(predicted) >= 5 * min(predicted)
    assert unlike >= STEPS // 2


def test_a_mean_of_micro_batch_means_would_be_far_off(store: Path, tmp_path: Path) -> None:
    """`same` would detect a loss that averages the means of micro-batches."""
    recipe, *overrides = ONE_RANK[0].arguments(store, tmp_path)
    inputs = open_inputs(load_recipe(recipe, overrides))
    batch = TrainStream(inputs.train, inputs.batch, data_parallel_rank=0).step(0)
    predicted = np.array([int(part["predicted_weights"].sum()) for part in batch.micro_batches])
    apart = np.abs(predicted / predicted.sum() - 1 / len(predicted))
    assert apart.max() > 0.1


def test_another_seed_is_far_off(one_rank: Launch) -> None:
    worst = differences(one_rank.metrics("alone-other-seed"), one_rank.metrics("alone"))
    assert worst["loss"] > 1000 * WITHIN
    assert worst["grad_norm"] > 1000 * WITHIN
    assert worst["tokens"] > 0.01


def test_the_loss_falls(one_rank: Launch) -> None:
    halfway, ended = [one for one in one_rank.metrics("alone") if one["split"] == "eval"]
    assert halfway["loss"] > 1.005 * ended["loss"]


@pytest.mark.parametrize("name", exact_ones([*TWO_RANKS, *TWO_STAGES]))
def test_two_ranks_have_the_numbers_of_one(one_rank: Launch, two_ranks: Launch, name: str) -> None:
    same(two_ranks.metrics(name), one_rank.metrics(counterpart(name)))


@pytest.mark.parametrize("name", exact_ones(FOUR_RANKS))
def test_four_ranks_have_the_numbers_of_one(
    one_rank: Launch, four_ranks: Launch, name: str
) -> None:
    same(four_ranks.metrics(name), one_rank.metrics(counterpart(name)))


def test_recomputing_activations_changes_nothing(one_rank: Launch) -> None:
    same(one_rank.metrics("alone-recomputed"), one_rank.metrics("alone"))


def test_clipping_really_clips(one_rank: Launch) -> None:
    clipped, unclipped = (one_rank.metrics(f"alone-{name}") for name in ("clipped", "unclipped"))
    norms = [one["grad_norm"] for one in clipped if one["split"] == "train"]
    assert min(norms) > 2 * CLIP
    assert differences(clipped, unclipped)["loss"] > 100 * WITHIN
    # The reported norm is the one before clipping: the first step has the same weights.
    assert clipped[0]["grad_norm"] == unclipped[0]["grad_norm"]


def test_an_untied_head_is_another_model(one_rank: Launch) -> None:
    worst = differences(one_rank.metrics("alone-untied"), one_rank.metrics("alone"))
    assert worst["loss"] > 100 * WITHIN
