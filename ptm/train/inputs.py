"""Everything a recipe names, opened and found to fit; known before anything is started."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ptm.components.objectives.distil import Distil
from ptm.engines.ds_config import ds_config
from ptm.engines.offload import lacking_for_offload
from ptm.engines.teachers import Teachers, fitting_recipe, open_teachers
from ptm.errors import UserError
from ptm.interop.sources.open import open_source
from ptm.loading.rows import TRAIN, RowSet, open_rows, open_store, store_of
from ptm.model.build import build_plan
from ptm.model.stages import stage_bounds
from ptm.model.trainable import frozen_parameters
from ptm.plan import Plan
from ptm.recipe import BatchPlan, Recipe, batch_plan
from ptm.recipe.batch import data_parallel_ranks
from ptm.text.corpus import find_corpus
from ptm.text.tokenizers import Tokenizer

_SOME_VOCABULARY = 1000


@dataclass(frozen=True)
class Inputs:
    """What a training needs besides its recipe."""

    tokenizer: Tokenizer
    plan: Plan
    batch: BatchPlan
    ds_config: dict[str, Any]
    train: RowSet
    evaluation: dict[str, RowSet]
    teachers: Teachers | None
    steps: int


def open_inputs(recipe: Recipe, *, ranks: int | None = None) -> Inputs:
    """Open what the recipe names. Raises UserError for whatever is wrong with it.

    `ranks`: those that will be started; left out, those that were.
    """
    tokenizer = recipe.tokenizer.load()
    batch = batches_of(recipe, ranks)
    config = ds_config(recipe, batch)
    _refuse_parts(recipe)
    if recipe.start is not None:
        open_source(recipe.start.source)
    lacking = lacking_for_offload(config)
    if lacking is not None:
        raise UserError(f"engine.deepspeed = {recipe.engine.deepspeed}: {lacking}")
    # Its files are read once for all splits.
    recipe = recipe.model_copy(update={"objective": recipe.objective.prepared(tokenizer)})
    if recipe.engine.attention == "flex" and not torch.cuda.is_available():
        raise UserError(
            "engine.attention = flex learns on GPUs alone, and there is none here: set it to sdpa."
        )
    rows = open_rows(recipe, tokenizer, split=TRAIN)
    if not len(rows):
        raise UserError("data.held_out leaves no document to train on: make it smaller.")
    return Inputs(
        tokenizer=tokenizer,
        plan=build_plan(
            recipe.model,
            recipe.objective,
            vocabulary_size=rows.vocabularies.source.size,
            target_vocabulary_size=rows.vocabularies.target.size,
        ),
        batch=batch,
        ds_config=config,
        train=rows,
        evaluation=evaluation_rows(recipe, tokenizer),
        teachers=open_teachers(recipe, tokenizer),
        steps=total_steps(recipe, len(rows)),
    )


def evaluation_rows(recipe: Recipe, tokenizer: Tokenizer) -> dict[str, RowSet]:
    """The rows of everything that is evaluated, by name. Raises UserError where some are not."""
    found = {}
    for name in recipe.data.evaluation_names:
        found[name] = open_rows(recipe, tokenizer, split=name)
        if not len(found[name]):
            raise UserError(f"data.evaluation.{name}: its store holds no example.")
    return found


def _refuse_parts(recipe: Recipe) -> None:
    """Raise UserError for stages the model cannot be cut into, and what it cannot freeze."""
    stages, freeze = recipe.engine.pipeline_stages, recipe.train.freeze
    if stages > 1 or freeze:
        # Neither depends on how many tokens there are.
        size = recipe.tokenizer.size or _SOME_VOCABULARY
        plan = build_plan(recipe.model, recipe.objective, vocabulary_size=size)
        frozen = frozen_parameters(plan, freeze)
        if stages > 1:
            stage_bounds(plan, stages, frozen=frozen)


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
    _refuse_parts(recipe)
    missing = list(_missing_inputs(recipe))
    lacking = lacking_for_offload(config)
    if lacking is not None:
        missing.append(f"engine.deepspeed = {recipe.engine.deepspeed}: {lacking}")
    if missing and need_inputs:
        raise UserError("\n".join(missing))
    _check_files(recipe, verify=need_inputs)
    return missing


def _check_files(recipe: Recipe, *, verify: bool) -> None:
    """Raise UserError where files that are here do not fit; `verify`: compare checksums, too."""
    target = recipe.target_tokenizer
    if target is not None and target.is_here:
        of_targets = target.load(key="target_tokenizer").vocabulary
        of_targets.require(recipe.objective.special_roles)
    if recipe.tokenizer.is_here:
        tokenizer = recipe.tokenizer.load()
        recipe.objective.refuse_unfit(tokenizer.vocabulary, recipe.data.row_size)
        if all(Path(file).is_file() for file in recipe.objective.input_files):
            recipe.objective.prepared(tokenizer)
        both_here = target is None or target.is_here
        if both_here and Path(recipe.data.store).exists():
            store = open_store(recipe, tokenizer)
            if verify:
                store.verify()
        for name in recipe.data.evaluation or ():
            if both_here and Path(store_of(recipe, name)[1]).exists():
                open_store(recipe, tokenizer, split=name)
        for path in recipe.objective.sources if isinstance(recipe.objective, Distil) else ():
            if Path(path).exists():
                fitting_recipe(path, recipe, tokenizer)


def _missing_inputs(recipe: Recipe) -> Iterator[str]:
    for key, tokenizer in (
        ("tokenizer", recipe.tokenizer),
        ("target_tokenizer", recipe.target_tokenizer),
    ):
        for file in tokenizer.input_files if tokenizer else ():
            if not Path(file).is_file():
                yield f'{key}: "{file}" is not a file.'
    for file in recipe.objective.input_files:
        if not Path(file).is_file():
            yield f'objective: "{file}" is not a file.'
    segmenter = recipe.data.segmenter
    for file in segmenter.input_files if segmenter else ():
        if not Path(file).is_file():
            yield f'data.segmenter: "{file}" is not a file.'
    for key, block in recipe.data.corpora.items():
        if not Path(block.store).exists():
            yield f'{key}.store: "{block.store}" does not exist; `ptm preprocess` makes it.'
            try:
                find_corpus(block.corpus_patterns, field=f"{key}.corpus")
            except UserError as error:
                yield str(error)
    sources = [("init_from", recipe.start.source)] if recipe.start else []
    if isinstance(recipe.objective, Distil):
        sources += [("objective.teacher", path) for path in recipe.objective.sources]
    for key, path in sources:
        try:
            open_source(path, download=False)
        except UserError as error:
            yield f"{key}: {error}"
