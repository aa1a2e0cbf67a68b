"""Micro-batches of automatic size: the estimate of a step's memory, and the choice by it."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ptm.allocator import return_large_allocations
from ptm.engines import micro_batch
from ptm.engines.ds_config import ds_config
from ptm.engines.loss import scaled_metrics
from ptm.engines.peak_memory import StepSettings, peak_bytes, state_bytes
from ptm.engines.ranks import Ranks
from ptm.loading.batches import step_batch
from ptm.loading.splits import open_splits
from ptm.model.build import build_plan
from ptm.model.plain_model import empty_model
from ptm.plan import Plan
from ptm.recipe import Recipe, load_recipe
from ptm.recipe.batch import batches_of
from ptm.train.inputs import open_inputs
from ptm.train.run import with_smallest_micro_batches
from tests.support.small_runs import QUICKSTART, Runs, build_bundled_store, vocab

ONE_RANK = Ranks(rank=0, world_size=1, device=torch.device("cpu"))
GIGABYTE = 10**9
ON_CPU = StepSettings(precision="fp32", recompute=False, implementation="sdpa", on_gpu=False)
ON_GPU = StepSettings(precision="bf16", recompute=False, implementation="varlen", on_gpu=True)
LARGER = (
    "model.dropout=0.1",
    "model.encoder.layers=3",
    "model.encoder.hidden_size=256",
    "model.encoder.feed_forward_size=1024",
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_bundled_store(tmp_path_factory.mktemp("store") / "bundled")


def recipe_of(store: Path, *overrides: str) -> Recipe:
    given = [f"tokenizer.vocab={vocab()}", f"data.store={store}", "train.micro_batch_size=auto"]
    return load_recipe(str(QUICKSTART / "roberta-tiny.yaml"), [*given, *overrides])


def plan_and_batch(recipe: Recipe, rows: int) -> tuple[Plan, dict[str, Tensor]]:
    data, _ = open_splits(recipe, recipe.tokenizer.load())
    plan = build_plan(recipe.model, recipe.objective, vocabulary_size=data.vocabularies.source.size)
    parts = data.micro_batches(np.arange(rows), size=rows)
    return plan, dict(step_batch(parts, recipe.objective).micro_batches[0])


def resident(key: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def measured_peak(plan: Plan, recipe: Recipe, batch: Mapping[str, Tensor]) -> int:
    """How far the resident memory rises in a forward and backward pass on the CPU.

    Freed blocks return to the system, whatever earlier tests in this process have set.
    """
    return_large_allocations()
    model = empty_model(plan).train()
    objective = recipe.objective
    counts = {metric.count: 1.0 for metric in objective.metrics}
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = resident("VmRSS")
    sums = objective.metric_sums(model(batch), batch)
    scaled_metrics(sums, counts, objective, objective.loss_weights(0))["loss"].backward()
    return resident("VmHWM") - before


@pytest.mark.parametrize("overrides", [(), LARGER], ids=["tiny", "larger"])
def test_the_estimate_is_within_a_quarter_of_the_measured_peak(
    store: Path, overrides: tuple[str, ...]
) -> None:
    recipe = recipe_of(store, "data.sequence_length=128", *overrides)
    plan, batch = plan_and_batch(recipe, rows=48)
    measured_peak(plan, recipe, batch)
    measured = measured_peak(plan, recipe, batch)
    assert peak_bytes(plan, recipe.objective, batch, ON_CPU) == pytest.approx(measured, rel=0.25)


def test_half_precision_and_recomputation_need_less(store: Path) -> None:
    recipe = recipe_of(store, "data.sequence_length=128", *LARGER)
    plan, batch = plan_and_batch(recipe, rows=16)
    half = peak_bytes(plan, recipe.objective, batch, ON_GPU)
    settings = StepSettings("fp32", recompute=False, implementation="varlen", on_gpu=True)
    assert 1.3 < peak_bytes(plan, recipe.objective, batch, settings) / half < 2.1
    recomputed = StepSettings("bf16", recompute=True, implementation="varlen", on_gpu=True)
    assert peak_bytes(plan, recipe.objective, batch, recomputed) < 0.8 * half
    masked = StepSettings("bf16", recompute=False, implementation="sdpa", on_gpu=True)
    rows, length, layers = 16, 128, 3
    extra = peak_bytes(plan, recipe.objective, batch, masked) - half
    assert extra == 2 * rows * length * length * layers


@pytest.mark.parametrize(
    ("engine", "ranks", "expected"),
    [
        # Weights and two moments; from ZeRO 1 on, shards of masters and moments and of gradients.
        (("engine.deepspeed=zero0",), 1, 12),
        (("engine.deepspeed=zero1",), 4, 4 + 16 / 4),
        (("engine.deepspeed=zero3",), 4, 4 / 4 + 16 / 4),
        # bf16 weights, fp32 gradients, masters and moments.
        (("engine.deepspeed=zero1", "engine.precision=bf16"), 1, 2 + 4 + 12),
        (("engine.deepspeed=zero2", "engine.precision=bf16"), 4, 2 + (4 + 12) / 4),
    ],
)
def test_the_state_is_counted_by_zero_stage(
    store: Path, engine: tuple[str, ...], ranks: int, expected: float
) -> None:
    recipe = recipe_of(store, f"train.global_batch_size={8 * ranks}", *engine)
    plan, _ = plan_and_batch(recipe, rows=1)
    config = ds_config(recipe, batches_of(recipe.train, recipe.engine, ranks=ranks))
    parameters = sum(torch.Size(shape).numel() for shape in plan.parameter_shapes.values())
    size = 4 if recipe.engine.precision == "fp32" else 2
    buckets = 2 * size * parameters if ranks > 1 else 0
    found = state_bytes(
        plan,
        recipe.optimizer,
        config,
        precision=recipe.engine.precision,
        ranks=ranks,
        hidden=frozenset(),
    )
    assert found == pytest.approx(expected * parameters + buckets)


@pytest.mark.parametrize("batch", [24, 64, 1024])
def test_a_training_takes_what_fits_and_divides_its_batch(
    store: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    recipe = recipe_of(store, "data.sequence_length=128", f"train.global_batch_size={batch}")
    plenty = open_inputs(recipe)
    assert plenty.batch.micro_batch_size == min(batch, 32)
    assert plenty.ds_config["train_micro_batch_size_per_gpu"] == plenty.batch.micro_batch_size
    monkeypatch.setattr(micro_batch, "device_memory", lambda device: 1.4 * GIGABYTE)
    scarce = open_inputs(recipe)
    assert scarce.batch.accumulation * scarce.batch.micro_batch_size == batch
    assert scarce.batch.micro_batch_size < plenty.batch.micro_batch_size
    assert scarce.micro_batch is not None
    rows = scarce.micro_batch.rows
    assert rows == scarce.batch.micro_batch_size
    assert scarce.micro_batch.estimate <= 0.8 * 1.4 * GIGABYTE - 2**30
    assert f"micro-batches of {rows} rows" in str(scarce.micro_batch)
    monkeypatch.setattr(micro_batch, "device_memory", lambda device: 0.0)
    assert open_inputs(recipe).batch.micro_batch_size == 1


def test_all_ranks_take_what_fits_on_the_smallest_device(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(store, "data.sequence_length=128", "train.global_batch_size=64")
    inputs = open_inputs(recipe, ranks=1)
    assert inputs.micro_batch is not None
    smaller = replace(inputs.micro_batch, rows=inputs.micro_batch.rows // 2)
    gathered = [inputs.micro_batch, smaller]
    monkeypatch.setattr("ptm.train.run.all_gather_objects", lambda value, ranks: gathered)
    agreed = with_smallest_micro_batches(recipe, inputs, ONE_RANK)
    assert agreed.micro_batch == smaller
    assert agreed.batch.micro_batch_size == smaller.rows
    assert agreed.batch.accumulation == 2 * inputs.batch.accumulation
    assert agreed.ds_config["train_micro_batch_size_per_gpu"] == smaller.rows


def test_the_losses_are_those_of_a_given_size(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs(store, tmp_path)
    settings = ("train.global_batch_size=8", "model.dropout=0.0")
    runs.train("given", "train.micro_batch_size=2", *settings)
    runs.train("chosen", "train.micro_batch_size=auto", *settings)
    given, chosen = runs.metrics("given"), runs.metrics("chosen")
    assert len(given) == len(chosen) > 0
    for one, other in zip(given, chosen, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)


def test_a_pipeline_has_four_micro_batches_per_stage(store: Path) -> None:
    recipe = recipe_of(
        store,
        "engine.pipeline_stages=2",
        "engine.deepspeed=pipeline",
        "train.global_batch_size=64",
    )
    inputs = open_inputs(recipe, ranks=2)
    assert (inputs.batch.micro_batch_size, inputs.batch.accumulation) == (8, 8)


@pytest.mark.parametrize("encoder", ["lstm", "gated_cnn"])
def test_encoders_without_attention_are_estimated_too(store: Path, encoder: str) -> None:
    recipe = recipe_of(
        store,
        "data.sequence_length=64",
        f"model.encoder={{type: {encoder}, layers: 3, hidden_size: 64}}",
        "objective={type: lm}",
    )
    data, _ = open_splits(recipe, recipe.tokenizer.load())
    plan, _ = plan_and_batch(recipe, rows=1)
    config = ds_config(recipe, batches_of(recipe.train, recipe.engine))
    estimate = micro_batch.MemoryEstimate(
        recipe, plan, data, config, ranks=1, device=torch.device("cpu")
    )
    # At least the output of each layer and two gates, in fp32.
    per_row = 3 * 4 * 64 * (64 + 2 * 64)
    assert estimate.peak(40) - estimate.peak(16) > (40 - 16) * per_row
