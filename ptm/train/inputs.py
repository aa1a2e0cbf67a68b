"""Everything a recipe names, opened and found to fit; known before anything is started."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptm.errors import UserError
from ptm.interop.source import open_source
from ptm.model.build import build_plan
from ptm.model.stages import stage_bounds
from ptm.plan import Plan
from ptm.recipe import BatchPlan, Recipe, batch_plan
from ptm.recipe.batch import data_parallel_ranks
from ptm.text.corpus import find_corpus
from ptm.text.tokenizers import Tokenizer
from ptm.train.ds_config import ds_config
from ptm.train.offload import lacking_for_offload
from ptm.train.rows import EVAL, TRAIN, RowSet, open_rows, open_store

_SOME_VOCABULARY = 1000


@dataclass(frozen=True)
class Inputs:
    """What a training needs besides its recipe."""

    tokenizer: Tokenizer
    plan: Plan
    batch: BatchPlan
    ds_config: dict[str, Any]
    train: RowSet
    held_out: RowSet | None
    steps: int


def open_inputs(recipe: Recipe, *, ranks: int | None = None) -> Inputs:
    """Open what the recipe names. Raises UserError for whatever is wrong with it.

    `ranks`: those that will be started; left out, those that were.
    """
    tokenizer = recipe.tokenizer.load()
    batch = batches_of(recipe, ranks)
    config = ds_config(recipe, batch)
    _refuse_stages(recipe)
    if recipe.init_from is not None:
        open_source(recipe.init_from)
    lacking = lacking_for_offload(config)
    if lacking is not None:
        raise UserError(f"engine.deepspeed = {recipe.engine.deepspeed}: {lacking}")
    # Its files are read once for all splits.
    recipe = recipe.model_copy(update={"objective": recipe.objective.prepared(tokenizer)})
    rows = open_rows(recipe, tokenizer, split=TRAIN)
    if not len(rows):
        raise UserError("data.held_out leaves no document to train on: make it smaller.")
    return Inputs(
        tokenizer=tokenizer,
        plan=build_plan(recipe.model, recipe.objective, vocabulary_size=tokenizer.vocabulary.size),
        batch=batch,
        ds_config=config,
        train=rows,
        held_out=open_rows(recipe, tokenizer, split=EVAL) if recipe.data.held_out > 0 else None,
        steps=total_steps(recipe, len(rows)),
    )


def _refuse_stages(recipe: Recipe) -> None:
    """Raise UserError where the model cannot be cut into as many stages."""
    if recipe.engine.pipeline_stages > 1:
        # How many there can be does not depend on how many tokens there are.
        size = recipe.tokenizer.size or _SOME_VOCABULARY
        plan = build_plan(recipe.model, recipe.objective, vocabulary_size=size)
        stage_bounds(plan, recipe.engine.pipeline_stages)


def batches_of(recipe: Recipe, ranks: int | None = None) -> BatchPlan:
    """The recipe's batch over `ranks`, or else over those that were launched."""
    return batch_plan(
        global_rows=recipe.train.global_batch_size,
        most_micro_rows=recipe.train.micro_batch_size,
        ranks=data_parallel_ranks(recipe.engine.pipeline_stages, ranks),
    )


def total_steps(recipe: Recipe, rows: int) -> int:
    """Steps of the whole training over `rows` rows an epoch."""
    if recipe.train.steps is not None:
        return recipe.train.steps
    assert recipe.train.epochs is not None, "a recipe has steps or epochs"
    return max(1, math.ceil(recipe.train.epochs * rows / recipe.train.global_batch_size))


def check_recipe(recipe: Recipe, *, need_inputs: bool) -> list[str]:
    """What is not on this machine, as sentences; what is there is checked against the recipe.

    Raises UserError for what is wrong, and with `need_inputs` for what is missing.
    """
    config = ds_config(recipe, batches_of(recipe))
    _refuse_stages(recipe)
    missing = list(_missing_inputs(recipe))
    lacking = lacking_for_offload(config)
    if lacking is not None:
        missing.append(f"engine.deepspeed = {recipe.engine.deepspeed}: {lacking}")
    if missing and need_inputs:
        raise UserError("\n".join(missing))
    if all(Path(file).exists() for file in recipe.tokenizer.input_files):
        tokenizer = recipe.tokenizer.load()
        tokenizer.vocabulary.require(recipe.objective.special_roles)
        if all(Path(file).is_file() for file in recipe.objective.input_files):
            recipe.objective.prepared(tokenizer)
        if Path(recipe.data.store).exists():
            store = open_store(recipe, tokenizer)
            if need_inputs:
                store.verify()
    return missing


def _missing_inputs(recipe: Recipe) -> Iterator[str]:
    for file in recipe.tokenizer.input_files:
        if not Path(file).is_file():
            yield f'tokenizer: "{file}" is not a file.'
    for file in recipe.objective.input_files:
        if not Path(file).is_file():
            yield f'objective: "{file}" is not a file.'
    segmenter = recipe.data.segmenter
    for file in segmenter.input_files if segmenter else ():
        if not Path(file).is_file():
            yield f'data.segmenter: "{file}" is not a file.'
    if not Path(recipe.data.store).exists():
        yield f'data.store: "{recipe.data.store}" does not exist; `ptm preprocess` makes it.'
        try:
            find_corpus(recipe.data.corpus_patterns)
        except UserError as error:
            yield str(error)
    if recipe.init_from is not None:
        try:
            open_source(recipe.init_from, download=False)
        except UserError as error:
            yield f"init_from: {error}"
