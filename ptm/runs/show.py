"""`ptm show`: the plan of a training, before it is started."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np

from ptm.data.placement import DECODER_EXAMPLE_IDS, EXAMPLE_IDS
from ptm.data.sides_apart import pack_sides_apart
from ptm.engines.ds_config import differences_from_recipe, ds_config
from ptm.errors import UserError
from ptm.loading.mixed import source_lines
from ptm.loading.rows import PackedDataset
from ptm.loading.splits import open_training_rows
from ptm.loading.training_rows import TrainingRows
from ptm.model.build import training_plan
from ptm.model.plain_model import meta_model
from ptm.model.stages import operation_sizes, stage_bounds
from ptm.model.trainable import rate_factors, untrained_parameters
from ptm.plan import Plan
from ptm.recipe import Recipe
from ptm.recipe.batch import BatchPlan, batches_of, total_steps
from ptm.recipe.data_block import UNNAMED
from ptm.recipe.input_files import OF_TRAINING, check_files
from ptm.runs.show_batch import decoded_rows
from ptm.text.tokenizers import TokenizerConfig

_OF_MICRO_BATCHES = ("train_micro_batch_size_per_gpu", "gradient_accumulation_steps")
"""Keys of DeepSpeed that follow from the rows of a micro-batch."""

_ROWS_SHOWN = 64
"""Rows of the micro-batch whose sides are described if micro-batches are `auto`."""


def show(recipe: Recipe) -> Iterator[str]:
    """Describe a training, one line at a time.

    Raises UserError if a required input is missing.
    """
    arithmetic = batches_of(recipe.train, recipe.engine)
    config = ds_config(recipe, arithmetic)
    if recipe.train.micro_batch_size == "auto":
        config = {key: value for key, value in config.items() if key not in _OF_MICRO_BATCHES}
    target = recipe.target_tokenizer
    plan = training_plan(
        recipe,
        vocabulary_size=_vocabulary_size(recipe.tokenizer, "tokenizer"),
        target_vocabulary_size=_vocabulary_size(target, "target_tokenizer") if target else None,
    )
    frozen = untrained_parameters(plan, recipe)
    operations = len(plan.operations)
    yield f"{recipe.name}: objective {recipe.objective.type}, {operations} model operations"
    yield from _parameters(plan, frozen)
    factors = {
        name: factor
        for name, factor in rate_factors(plan, recipe.optimizer, frozen=frozen).items()
        if name not in frozen
    }
    if any(factor != 1 for factor in factors.values()):
        yield from _rates(factors)
    if recipe.engine.pipeline_stages > 1:
        yield from _stages(plan, recipe.engine.pipeline_stages)
    yield from _batch(recipe, arithmetic)
    yield from _length(recipe)
    yield f"DeepSpeed: {json.dumps(config, indent=2)}"
    differences = differences_from_recipe(recipe, config)
    if differences:
        yield f"In this config, {'; '.join(differences)}."


def show_rows(recipe: Recipe) -> Iterator[str]:
    """Describe the first rows of the training data, decoded, one line at a time.

    Raises UserError if the tokenizer or the store is missing.
    """
    check_files(recipe, OF_TRAINING)
    train = open_training_rows(recipe, recipe.tokenizer.load())
    for name, rows in train.sources.items():
        if name != UNNAMED:
            yield f"source {name}:"
        yield from decoded_rows(rows)


def _batch(recipe: Recipe, arithmetic: BatchPlan) -> Iterator[str]:
    tokens = f"at most {recipe.data.sequence_length} tokens per row"
    if recipe.train.micro_batch_size != "auto":
        yield f"batch: {arithmetic}, {tokens}"
        return
    share = arithmetic.global_batch_size // arithmetic.ranks
    yield (
        f"batch: {arithmetic.global_batch_size} rows per step = {arithmetic.ranks} data-parallel "
        f"ranks x {share} rows, {tokens}"
    )
    yield "micro-batches: auto; `ptm train` chooses their rows by the memory of the device"


def _parameters(plan: Plan, frozen: Collection[str]) -> Iterator[str]:
    total = 0
    for name, module in meta_model(plan).named_children():
        named = list(module.named_parameters(prefix=name))
        count = sum(parameter.numel() for _, parameter in named)
        kept = sum(parameter.numel() for full, parameter in named if full in frozen)
        total += count
        yield f"  {name:<20} {count:>15,}{f', {kept:,} frozen' if kept else ''}"
    yield f"  {'parameters':<20} {total:>15,}"
    if frozen:
        sizes = plan.parameter_shapes
        kept = sum(math.prod(sizes[name]) for name in frozen)
        yield f"  {'frozen':<20} {kept:>15,}"
        yield f"  {'trainable':<20} {total - kept:>15,}"


def _rates(factors: Mapping[str, float]) -> Iterator[str]:
    """The factors of modules, and those of their parameters that have others."""
    of_modules: dict[str, dict[str, float]] = {}
    for name, factor in factors.items():
        of_modules.setdefault(name.partition(".")[0], {})[name] = factor
    yield "learning rates, as factors of the base rate:"
    for module, of_names in of_modules.items():
        shown = {module: min(of_names.values())} if len(set(of_names.values())) == 1 else of_names
        for name, factor in shown.items():
            yield f"  {name:<20} {factor:>15.6f}"


def _stages(plan: Plan, stages: int) -> Iterator[str]:
    bounds = stage_bounds(plan, stages)
    sizes = operation_sizes(plan)
    for stage, (first, after) in enumerate(pairwise(bounds)):
        names = [step.name for step in plan.operations[first:after]]
        what = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
        count = sum(sum(sizes[index]) for index in range(first, after))
        yield f"stage {stage}: {what}, {count:,} parameters"


def _vocabulary_size(tokenizer: TokenizerConfig, key: str) -> int:
    if tokenizer.files_exist:
        return tokenizer.load().vocabulary.size
    if tokenizer.size is None:
        raise UserError(
            f'{key}: "{tokenizer.source}" is not a file and {key}.size is not set, so the model '
            f"size is unknown. Add the file or set {key}.size."
        )
    return tokenizer.size


def _length(recipe: Recipe) -> Iterator[str]:
    train = recipe.train
    target = recipe.target_tokenizer
    here = recipe.tokenizer.files_exist and (target is None or target.files_exist)
    stores = [Path(one.store) for one in recipe.data.training_inputs.values()]
    if not all(store.exists() for store in stores) or not here:
        what = f"{train.steps} steps" if train.steps else f"{train.epochs:g} epochs"
        yield f"length: {what}; the number of rows per epoch is known once the store exists"
        return
    rows = open_training_rows(recipe, recipe.tokenizer.load())
    steps = total_steps(recipe.train, len(rows))
    positions = steps * train.global_batch_size
    contents = f" ({_contents(rows)})" if isinstance(rows, PackedDataset) else ""
    yield (
        f"length: {steps} steps = {positions / len(rows):.2f} epochs of {len(rows):,} rows"
        f"{contents}"
    )
    if recipe.packs_sides_apart:
        size = batches_of(train, recipe.engine).micro_batch_size
        yield _sides(rows, min(size, _ROWS_SHOWN) if train.micro_batch_size == "auto" else size)
    for line in source_lines(rows, positions):
        yield f"  {line}"
    if any(source.indexes.change for source in rows.sources.values()):
        yield "the examples change every epoch; these are the first epoch's"
    if rows.left_out:
        yield f"left out: {rows.left_out}"
    yield f"warm-up: {recipe.schedule.warmup_steps(steps)} steps"


def _contents(rows: PackedDataset) -> str:
    return (
        f"{rows.lengths.size:,} examples, {int(rows.lengths.sum()):,} tokens, "
        f"{100 * rows.fill:.2f} % of all positions"
    )


def _sides(rows: TrainingRows, count: int) -> str:
    """Describe the rows of either side of a micro-batch of the first `count` rows."""
    (batch,) = rows.micro_batches(np.arange(count), size=count)
    tensors = pack_sides_apart(batch.tensors)
    encoder, decoder = (
        f"{len(ids)} of the {name}, {100 * np.mean(ids > 0):.1f} % filled"
        for name, ids in (
            ("encoder", tensors[EXAMPLE_IDS]),
            ("decoder", tensors[DECODER_EXAMPLE_IDS]),
        )
    )
    return (
        f"sources and targets are packed apart: a micro-batch of the first {count} rows needs "
        f"{encoder}, and {decoder}"
    )
