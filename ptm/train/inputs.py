"""Open and check everything that a recipe names, before training starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ptm.engines.attention import check_attention
from ptm.engines.ds_config import ds_config
from ptm.engines.micro_batch import MicroBatchChoice, choose_micro_batch
from ptm.engines.offload import missing_for_offload
from ptm.engines.teachers import Teachers, open_teachers
from ptm.errors import UserError
from ptm.interop.sources.open import open_source
from ptm.loading.rows import PackedDataset
from ptm.loading.splits import open_splits
from ptm.loading.training_rows import TrainingRows
from ptm.model.build import training_plan
from ptm.plan import Plan
from ptm.recipe import BatchPlan, Recipe
from ptm.recipe.batch import batches_of, total_steps
from ptm.recipe.data_block import StoreInput
from ptm.recipe.input_files import OF_TRAINING, check_files, naming, start_key
from ptm.store.reader import TokenStore
from ptm.text.tokenizers import Tokenizer
from ptm.train.validate import check_parts
from ptm.train.warm_start.load import check_warm_start

VERIFIED_BYTES = 10**9
"""Bytes of a store that are verified when it is opened for a training or an evaluation."""


@dataclass(frozen=True)
class TrainingInputs:
    """Opened inputs of a training, besides its recipe."""

    tokenizer: Tokenizer
    plan: Plan
    batch: BatchPlan
    micro_batch: MicroBatchChoice | None
    """How the size of the micro-batches was chosen, unless the recipe gives it."""
    ds_config: dict[str, Any]
    train: TrainingRows
    evaluation: dict[str, PackedDataset]
    teachers: Teachers | None
    steps: int

    @property
    def evaluation_fingerprints(self) -> dict[str, str]:
        """The fingerprint of the store of each evaluation set."""
        return {name: rows.store.info.fingerprint for name, rows in self.evaluation.items()}

    def stores(self, recipe: Recipe) -> Iterator[tuple[StoreInput, TokenStore]]:
        """The opened stores, as `recipe` names them."""
        for name, one in recipe.data.training_inputs.items():
            yield one, self.train.sources[name].store
        for name, evaluation in recipe.data.evaluation_inputs.items():
            if evaluation.source is None and name in self.evaluation:
                yield evaluation.store, self.evaluation[name].store


def open_inputs(recipe: Recipe, *, ranks: int | None = None) -> TrainingInputs:
    """Open the inputs of a recipe. Raises UserError if one is missing or does not fit.

    `ranks`: number of ranks that will be started; by default, the number already launched.
    """
    check_files(recipe, OF_TRAINING)
    tokenizer = recipe.tokenizer.load()
    batch = batches_of(recipe.train, recipe.engine, ranks=ranks)
    config = ds_config(recipe, batch)
    check_parts(recipe)
    if recipe.start is not None:
        # A Hub model is downloaded here; after that, `check_warm_start` finds it in the cache.
        with naming(recipe, start_key(recipe)):
            open_source(recipe.start.source)
        check_warm_start(recipe, tokenizer)
    lacking = missing_for_offload(config)
    if lacking is not None:
        raise UserError(f"engine.deepspeed = {recipe.engine.deepspeed}: {lacking}")
    # Read the objective's files once, for all splits.
    recipe = recipe.model_copy(update={"objective": recipe.objective.with_files(tokenizer)})
    check_attention(recipe.engine)
    rows, evaluation = open_splits(recipe, tokenizer)
    plan = training_plan(
        recipe,
        vocabulary_size=rows.vocabularies.source.size,
        target_vocabulary_size=rows.vocabularies.target.size,
    )
    choice = None
    if recipe.train.micro_batch_size == "auto":
        batch, choice = choose_micro_batch(recipe, plan, rows, batch, config)
        config = ds_config(recipe, batch)
    return TrainingInputs(
        tokenizer=tokenizer,
        plan=plan,
        batch=batch,
        micro_batch=choice,
        ds_config=config,
        train=rows,
        evaluation=evaluation,
        teachers=open_teachers(recipe, tokenizer),
        steps=total_steps(recipe.train, len(rows)),
    )


def verify_stores(inputs: TrainingInputs, *, whole: bool, part: int = 0, parts: int = 1) -> None:
    """Verify the checksums of all stores of a training. Raises UserError for a damaged store.

    Stores up to 1 GB are verified whole, of larger ones as much, drawn at random, unless `whole`.
    `part` of `parts`: the share of this rank.
    """
    every = (*inputs.train.sources.values(), *inputs.evaluation.values())
    for store in {rows.store.folder: rows.store for rows in every}.values():
        store.verify(limit=None if whole else VERIFIED_BYTES, part=part, parts=parts)
