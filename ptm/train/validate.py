"""Checks of a recipe before anything starts. Few of them import torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ptm.engines.ds_config import ds_config
from ptm.engines.offload import missing_for_offload
from ptm.errors import UserError
from ptm.escaping import shown_url
from ptm.interop.sources.open import open_source
from ptm.loading.corpus_changes import corpus_changes
from ptm.loading.mixed import source_lines
from ptm.loading.rows import TRAIN
from ptm.loading.splits import open_splits
from ptm.loading.stores import open_store, store_of
from ptm.loading.training_rows import TrainingRows
from ptm.model.build import head_shape, training_plan
from ptm.recipe import Recipe
from ptm.recipe.batch import batches_of, total_steps
from ptm.recipe.data_block import UNNAMED
from ptm.recipe.input_files import missing_files, naming, start_key, teacher_key
from ptm.text.corpus import find_corpus, recognise
from ptm.text.corpus.remote import is_remote
from ptm.text.tokenizers import Tokenizer
from ptm.train.run_folder import RunFolder
from ptm.train.trackers import missing_packages

_PLACEHOLDER_VOCABULARY_SIZE = 1000

_MAX_TOKENS_TO_INDEX = 250_000_000
"""Without `need_inputs`, the examples of larger stores are not counted, which takes a minute."""


@dataclass(frozen=True)
class Verdict:
    """The result of checking a recipe in which no mistake was found."""

    unchecked: tuple[str, ...]
    """A sentence for each input that is missing on this machine, or that was not opened."""
    obstacle: str | None
    """Why `ptm train` would not start now although the recipe is valid: the state of its run."""
    sources: tuple[str, ...] = ()
    """A line for each named source: its rows in the planned steps. Empty if not opened."""


@dataclass(frozen=True)
class _Opened:
    """The rows to train on, or None and a sentence for each input that was not opened."""

    train: TrainingRows | None = None
    unopened: tuple[str, ...] = ()


def check_recipe(recipe: Recipe, *, need_inputs: bool) -> Verdict:
    """Check a recipe and all of its inputs that are on this machine.

    Raises UserError if anything is wrong, or with `need_inputs`, missing.
    """
    config = ds_config(recipe, batches_of(recipe.train, recipe.engine))
    check_parts(recipe)
    missing = [*_missing_inputs(recipe), *missing_packages(recipe)]
    missing += _check_corpora(recipe, remote=need_inputs)
    lacking = missing_for_offload(config)
    if lacking is not None:
        missing.append(f"engine.deepspeed = {recipe.engine.deepspeed}: {lacking}")
    if missing and need_inputs:
        raise UserError(*missing)
    opened = _check_files(recipe, whole=need_inputs)
    missing += opened.unopened
    sources = () if opened.train is None else tuple(_planned(recipe, opened.train))
    return Verdict(tuple(missing), _obstacle(recipe), sources)


def _planned(recipe: Recipe, rows: TrainingRows) -> Iterator[str]:
    steps = total_steps(recipe.train, len(rows))
    return source_lines(rows, steps * recipe.train.global_batch_size)


def _obstacle(recipe: Recipe) -> str | None:
    try:
        RunFolder(recipe).check_writable(fresh=False)
    except UserError as error:
        return str(error)
    return None


def check_parts(recipe: Recipe) -> None:
    """Raise UserError if the model cannot be cut into stages, or frozen as the recipe wants."""
    stages = recipe.engine.pipeline_stages
    chosen = recipe.train.freeze or recipe.optimizer.rates or recipe.adapter is not None
    if stages > 1 or chosen:
        # These need the plan's modules and therefore torch, unlike all other checks.
        from ptm.model.stages import stage_bounds
        from ptm.model.trainable import rate_factors, untrained_parameters

        # Neither check depends on the vocabulary size.
        size = recipe.tokenizer.size or _PLACEHOLDER_VOCABULARY_SIZE
        plan = training_plan(recipe, vocabulary_size=size)
        frozen = untrained_parameters(plan, recipe)
        rate_factors(plan, recipe.optimizer, frozen=frozen)
        if stages > 1:
            stage_bounds(plan, stages)


def _check_rows(recipe: Recipe, size: int) -> None:
    """Raise UserError if a vocabulary has more tokens than its word embedding has rows."""
    recipe.model.shape(size)
    target = recipe.target_tokenizer
    if target is None or target.files_exist:
        head_shape(recipe.model, size, target.read().size if target else None)


def _check_files(recipe: Recipe, *, whole: bool) -> _Opened:
    """Check what is on this machine.

    `whole`: also compare the checksums of the training store, and count the examples of stores of
    any size. Raises UserError if a file does not fit.
    """
    target = recipe.target_tokenizer
    if target is not None and target.files_exist:
        of_targets = target.load(key="target_tokenizer").vocabulary
        of_targets.require(recipe.objective.special_roles)
    if not recipe.tokenizer.files_exist:
        return _Opened()
    tokenizer = recipe.tokenizer.load()
    recipe.objective.check_vocabulary(tokenizer.vocabulary, recipe.row_size)
    _check_rows(recipe, tokenizer.vocabulary.size)
    files_exist = all(Path(file).is_file() for file in recipe.objective.input_files.values())
    if files_exist:
        recipe.objective.with_files(tokenizer)
    for path in recipe.objective.teacher_sources:
        if _is_present(path):
            from ptm.engines.teachers import compatible_teacher_recipe

            compatible_teacher_recipe(path, recipe, tokenizer)
    if target is not None and not target.files_exist:
        return _Opened()
    if recipe.start is not None and _is_present(recipe.start.source):
        from ptm.train.warm_start.load import check_warm_start

        check_warm_start(recipe, tokenizer)
    return _check_stores(recipe, tokenizer, examples=files_exist, whole=whole)


def _check_stores(recipe: Recipe, tokenizer: Tokenizer, *, examples: bool, whole: bool) -> _Opened:
    """Open the stores on this machine, and count their examples unless there are too many."""
    splits = [
        *((TRAIN, source) for source in recipe.data.training_inputs),
        *((name, UNNAMED) for name in recipe.data.evaluation or ()),
    ]
    found = [(split, source, store_of(recipe, split, source)) for split, source in splits]
    stores = [
        (one, open_store(recipe, tokenizer, split=split, source=source))
        for split, source, one in found
        if Path(one.store).exists()
    ]
    if whole:
        changes = corpus_changes(stores)
        if changes:
            raise UserError(*changes)
        for _, store in stores:
            store.verify()
    if not examples or len(stores) < len(recipe.data.corpora):
        return _Opened()
    tokens = sum(store.info.tokens for _, store in stores)
    if whole or tokens <= _MAX_TOKENS_TO_INDEX:
        train, _ = open_splits(recipe, tokenizer)
        return _Opened(train)
    sentence = (
        f"the stores hold {tokens:,} tokens; `ptm validate --inputs` also counts their examples"
    )
    return _Opened(unopened=(sentence,))


def _is_present(source: str) -> bool:
    """Whether a model is on this machine: a folder, or in the cache of the Hub."""
    try:
        open_source(source, download=False)
    except UserError:
        return False
    return True


def _check_place(key: str, path: Path) -> None:
    """Raise UserError if no folder can be created at `path`, because a parent is a file."""
    above = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    if not above.is_dir():
        raise UserError(f'{key}: "{path}" cannot be created: {above} is not a folder.')


def _check_corpora(recipe: Recipe, *, remote: bool) -> Iterator[str]:
    """Look at the first records of every corpus file that is on this machine.

    Yields a sentence for each remote corpus, which is only opened with `remote`. Raises UserError
    if a file is not what the recipe declares, or lacks a field.
    """
    for one in recipe.data.corpora.values():
        urls = [pattern for pattern in one.corpus_patterns if is_remote(pattern)]
        if urls and not remote:
            if not Path(one.store).exists():
                yield f'{one.corpus_key}: "{shown_url(urls[0])}" is remote and was not opened.'
            continue
        try:
            files = find_corpus(one.corpus_patterns, field=one.corpus_key)
        except UserError:
            # Reported as a missing input, unless the store exists.
            continue
        recognise(files, recipe.data.layout, one.reading)


def _missing_inputs(recipe: Recipe) -> Iterator[str]:
    yield from missing_files(recipe)
    for one in recipe.data.corpora.values():
        if Path(one.store).exists():
            continue
        missing = f'{one.store_key}: "{one.store}" does not exist'
        if not one.corpus_patterns:
            yield f"{missing}. Set the folder of a store, or the files to make it from."
            continue
        _check_place(one.store_key, Path(one.store))
        yield f"{missing}; `ptm preprocess` creates it."
        local = [pattern for pattern in one.corpus_patterns if not is_remote(pattern)]
        try:
            with naming(recipe, one.corpus_key):
                find_corpus(local, field=one.corpus_key)
        except UserError as error:
            yield str(error)
    sources = [(start_key(recipe), recipe.start.source)] if recipe.start else []
    sources += [(teacher_key(recipe), path) for path in recipe.objective.teacher_sources]
    for key, path in sources:
        try:
            with naming(recipe, key):
                open_source(path, download=False)
        except UserError as error:
            yield str(error)
