"""`ptm show`: the plan of a training, before it is started."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from ptm.errors import UserError
from ptm.model.build import build_plan, meta_model, parameter_shapes
from ptm.model.stages import stage_bounds, step_sizes
from ptm.model.trainable import frozen_parameters, rate_factors
from ptm.objectives import MicroBatch
from ptm.plan import Plan
from ptm.recipe import Recipe
from ptm.text.vocabulary import Vocabulary
from ptm.train.ds_config import ds_config
from ptm.train.inputs import batches_of, total_steps
from ptm.train.rows import TRAIN, open_rows, open_store

_ROWS_SHOWN = 2


def show(recipe: Recipe, *, batch: bool) -> Iterator[str]:
    """Lines for a person. Raises UserError where what is asked for needs what is not here."""
    arithmetic = batches_of(recipe)
    config = ds_config(recipe, arithmetic)
    plan = build_plan(recipe.model, recipe.objective, vocabulary_size=_vocabulary_size(recipe))
    yield f"{recipe.name}: objective {recipe.objective.type}, {len(plan.steps)} steps of the model"
    yield from _parameters(plan, frozen_parameters(plan, recipe.train.freeze))
    if recipe.optimizer.layer_decay is not None:
        yield from _rates(plan, recipe.optimizer.layer_decay)
    if recipe.engine.pipeline_stages > 1:
        yield from _stages(plan, recipe)
    yield f"batch: {arithmetic}, at most {recipe.data.sequence_length} tokens a row"
    yield from _length(recipe)
    yield f"DeepSpeed: {json.dumps(config, indent=2)}"
    if batch:
        yield from _decoded_batch(recipe)


def _parameters(plan: Plan, frozen: Collection[str]) -> Iterator[str]:
    total = 0
    for name, module in meta_model(plan).named_children():
        named = list(module.named_parameters(prefix=name))
        count = sum(parameter.numel() for _, parameter in named)
        kept = sum(parameter.numel() for full, parameter in named if full in frozen)
        total += count
        yield f"  {name:<20} {count:>15,}{f', {kept:,} of them frozen' if kept else ''}"
    yield f"  {'parameters':<20} {total:>15,}"
    if frozen:
        sizes = parameter_shapes(plan)
        kept = sum(math.prod(sizes[name]) for name in frozen)
        yield f"  {'frozen':<20} {kept:>15,}"
        yield f"  {'learning':<20} {total - kept:>15,}"


def _rates(plan: Plan, decay: float) -> Iterator[str]:
    factors = {name.partition(".")[0]: rate for name, rate in rate_factors(plan, decay).items()}
    yield "learning rates, of the base rate:"
    for name, rate in factors.items():
        yield f"  {name:<20} {rate:>15.6f}"


def _stages(plan: Plan, recipe: Recipe) -> Iterator[str]:
    frozen = frozen_parameters(plan, recipe.train.freeze)
    bounds = stage_bounds(plan, recipe.engine.pipeline_stages, frozen=frozen)
    sizes = step_sizes(plan)
    for stage, (first, after) in enumerate(pairwise(bounds)):
        names = [step.name for step in plan.steps[first:after]]
        what = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
        count = sum(sum(sizes[index]) for index in range(first, after))
        yield f"stage {stage}: {what}, {count:,} parameters"


def _vocabulary_size(recipe: Recipe) -> int:
    if recipe.tokenizer.is_here:
        return recipe.tokenizer.load().vocabulary.size
    if recipe.tokenizer.size is None:
        raise UserError(
            f'tokenizer: "{recipe.tokenizer.source}" is not a file, and tokenizer.size is not '
            "given instead: the model's size is not known."
        )
    return recipe.tokenizer.size


def _length(recipe: Recipe) -> Iterator[str]:
    train = recipe.train
    target = recipe.target_tokenizer
    here = recipe.tokenizer.is_here and (target is None or target.is_here)
    if not Path(recipe.data.store).exists() or not here:
        what = f"{train.steps} steps" if train.steps else f"{train.epochs:g} epochs"
        yield f"length: {what}; how many rows an epoch has is known once the store is there"
        return
    rows = open_rows(recipe, recipe.tokenizer.load(), split=TRAIN)
    steps = total_steps(recipe, len(rows))
    yield (
        f"length: {steps} steps = {steps * train.global_batch_size / len(rows):.2f} epochs of "
        f"{len(rows):,} rows ({rows.lengths.size:,} examples, {int(rows.lengths.sum()):,} tokens, "
        f"{100 * rows.fill:.2f} % of the cells)"
    )
    if rows.indexes.change:
        yield "the examples change by epoch; these are the first epoch's"
    if rows.left_out:
        yield f"left out: {rows.left_out}"
    yield f"warm-up: {recipe.schedule.warmup_steps(steps)} steps"


def _decoded_batch(recipe: Recipe) -> Iterator[str]:
    """The first rows of the training: what is read, and what is to be predicted."""
    tokenizer = recipe.tokenizer.load()
    open_store(recipe, tokenizer)
    rows = open_rows(recipe, tokenizer, split=TRAIN)
    chosen = np.arange(min(_ROWS_SHOWN, len(rows)), dtype=np.int64)
    batch = rows.micro_batch(chosen, np.zeros_like(chosen))
    yield f"the first {len(chosen)} rows, {dict(batch.counts)}:"
    for row in range(len(chosen)):
        yield from _decoded_row(batch, row, tokenizer.vocabulary)


def _decoded_row(batch: MicroBatch, row: int, vocabulary: Vocabulary) -> Iterator[str]:
    ids, examples = batch.tensors["input_ids"][row], batch.tensors["example_ids"][row]
    first = row * ids.size
    wanted = {
        int(at) - first: vocabulary.tokens[int(token)]
        for at, token, weight in zip(
            batch.tensors["predicted_positions"],
            batch.tensors["predicted_ids"],
            batch.tensors["predicted_weights"],
            strict=True,
        )
        if weight and first <= at < first + ids.size
    }
    labels = _pair_labels(batch, row)
    for example in range(1, int(examples.max()) + 1):
        words = [
            f"{vocabulary.tokens[int(ids[at])]}<{wanted[at]}>"
            if at in wanted
            else vocabulary.tokens[int(ids[at])]
            for at in np.flatnonzero(examples == example).tolist()
        ]
        label = f" (pair label {labels[example - 1]})" if labels else ""
        yield f"  row {row}, example {example}{label}: {' '.join(words)}"


def _pair_labels(batch: MicroBatch, row: int) -> list[int]:
    """The labels of the row's examples, where the objective is about pairs."""
    if "pair_labels" not in batch.tensors:
        return []
    counts = batch.tensors["example_ids"].max(axis=1)
    first = int(counts[:row].sum())
    return [int(label) for label in batch.tensors["pair_labels"][first : first + counts[row]]]
