"""Checks of a recipe before anything starts. Few of them import torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ptm.engines.ds_config import ds_config
from ptm.engines.offload import missing_for_offload
from ptm.errors import UserError
from ptm.interop.sources.open import open_source
from ptm.loading.rows import open_store, store_of
from ptm.model.build import build_plan
from ptm.recipe import Recipe
from ptm.recipe.batch import batches_of
from ptm.text.corpus import find_corpus

_PLACEHOLDER_VOCABULARY_SIZE = 1000


def check_recipe(recipe: Recipe, *, need_inputs: bool) -> list[str]:
    """Check a recipe and its inputs; return a sentence for each input missing on this machine.

    Raises UserError if anything is wrong, or with `need_inputs`, missing.
    """
    config = ds_config(recipe, batches_of(recipe.train, recipe.engine))
    check_parts(recipe)
    missing = list(_missing_inputs(recipe))
    lacking = missing_for_offload(config)
    if lacking is not None:
        missing.append(f"engine.deepspeed = {recipe.engine.deepspeed}: {lacking}")
    if missing and need_inputs:
        raise UserError("\n".join(missing))
    _check_files(recipe, verify=need_inputs)
    return missing


def check_parts(recipe: Recipe) -> None:
    """Raise UserError if the model cannot be cut into stages, or frozen as the recipe wants."""
    stages, freeze = recipe.engine.pipeline_stages, recipe.train.freeze
    if stages > 1 or freeze:
        # These need the plan's modules and therefore torch, unlike all other checks.
        from ptm.model.stages import stage_bounds
        from ptm.model.trainable import frozen_parameters

        # Neither check depends on the vocabulary size.
        size = recipe.tokenizer.size or _PLACEHOLDER_VOCABULARY_SIZE
        plan = build_plan(recipe.model, recipe.objective, vocabulary_size=size)
        frozen = frozen_parameters(plan, freeze)
        if stages > 1:
            stage_bounds(plan, stages, frozen=frozen)


def _check_files(recipe: Recipe, *, verify: bool) -> None:
    """Raise UserError if a file on this machine does not fit. `verify`: compare checksums too."""
    target = recipe.target_tokenizer
    if target is not None and target.files_exist:
        of_targets = target.load(key="target_tokenizer").vocabulary
        of_targets.require(recipe.objective.special_roles)
    if recipe.tokenizer.files_exist:
        tokenizer = recipe.tokenizer.load()
        recipe.objective.check_vocabulary(tokenizer.vocabulary, recipe.data.row_size)
        if all(Path(file).is_file() for file in recipe.objective.input_files):
            recipe.objective.with_files(tokenizer)
        both_here = target is None or target.files_exist
        if both_here and Path(recipe.data.store).exists():
            store = open_store(recipe, tokenizer)
            if verify:
                store.verify()
        for name in recipe.data.evaluation or ():
            if both_here and Path(store_of(recipe, name)[1]).exists():
                store = open_store(recipe, tokenizer, split=name)
                if verify:
                    store.verify()
        for path in recipe.objective.teacher_sources:
            if Path(path).exists():
                from ptm.engines.teachers import compatible_teacher_recipe

                compatible_teacher_recipe(path, recipe, tokenizer)


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
            yield f'{key}.store: "{block.store}" does not exist; `ptm preprocess` creates it.'
            try:
                find_corpus(block.corpus_patterns, field=f"{key}.corpus")
            except UserError as error:
                yield str(error)
    sources = [("init_from", recipe.start.source)] if recipe.start else []
    sources += [("objective.teacher", path) for path in recipe.objective.teacher_sources]
    for key, path in sources:
        try:
            open_source(path, download=False)
        except UserError as error:
            yield f"{key}: {error}"
