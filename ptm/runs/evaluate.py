"""`ptm evaluate`: held-out metrics of a run, an export or an import."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch

from ptm.allocator import keep_large_allocations
from ptm.components.objectives.scores.diagnosis import Diagnosis
from ptm.console.phases import tracked
from ptm.engines.metric_sums import (
    CountingIterator,
    evaluate_batches,
    metric_means,
    mixture_metrics,
    warn_of_unmeasured,
)
from ptm.engines.predictions import figures_of
from ptm.errors import UserError
from ptm.interop.sources.base import ModelSource
from ptm.interop.sources.run import RunSource
from ptm.loading.batches import evaluation_batches
from ptm.loading.rows import PackedDataset
from ptm.loading.splits import open_evaluation_rows
from ptm.loading.stores import vocabularies_of
from ptm.model.build import build_plan
from ptm.model.plain_model import loaded_model
from ptm.recipe import DataRecipe
from ptm.recipe.batch import CPU_TOKENS, batch_plan, most_rows_of
from ptm.recipe.data_block import EVAL, metric_key
from ptm.train.diagnoses import write_diagnosis
from ptm.train.inputs import VERIFIED_BYTES

logger = logging.getLogger(__name__)


def evaluate_source(source: ModelSource, overrides: Sequence[str]) -> dict[str, Any]:
    """Metrics on the held-out documents of the store that the recipe or `overrides` name.

    The metrics of a named evaluation set or source have its name as prefix: `news/loss`. A student
    is evaluated without its teachers. Raises UserError if no store is named, if it does not fit the
    model, or if nothing is held out.
    """
    recipe = recipe_with_store(source, overrides)
    if not recipe.data.evaluation_names:
        raise UserError(
            "data.held_out = 0 leaves nothing to evaluate on. Set, for example, data.held_out=0.01."
        )
    recipe = recipe.model_copy(update={"objective": recipe.objective.without_teachers})
    data = recipe.data
    logger.info(
        "layout %s, rows of %s tokens, objective %s",
        data.layout,
        " and ".join(map(str, _row_sizes(recipe))),
        recipe.objective.type,
    )
    tokenizer = recipe.tokenizer.load()
    sets = open_evaluation_rows(recipe, tokenizer)
    for rows in sets.values():
        rows.store.verify(limit=VERIFIED_BYTES)
    vocabularies = vocabularies_of(recipe, tokenizer)
    plan = build_plan(
        recipe.model,
        recipe.objective,
        vocabulary_size=vocabularies.source.size,
        target_vocabulary_size=vocabularies.target.size,
        sides_apart=recipe.packs_sides_apart,
    )
    keep_large_allocations()
    model = loaded_model(plan, source.tensors(), source=str(source.folder))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    most = recipe.train.micro_batch_size
    size = batch_plan(
        global_batch_size=recipe.train.global_batch_size,
        max_micro_batch_size=(
            most_rows_of(CPU_TOKENS, recipe.row_size) if most == "auto" else most
        ),
        ranks=1,
    ).micro_batch_size
    measured: dict[str, dict[str, float | None]] = {}
    described: dict[str, dict[str, Any]] = {}
    for name, rows in sets.items():
        if rows.left_out:
            logger.info("left out of the evaluation set %s: %s", name, rows.left_out)
        read = tracked(
            evaluation_batches(rows, size),
            f"evaluating on {name}",
            total=len(rows),
            unit="rows",
            each=size,
        )
        batches = CountingIterator(read, recipe.objective)
        result = evaluate_batches(model.to(device), recipe.objective, batches, device)
        of_set = figures_of(
            result.predictions,
            recipe.objective,
            expected=rows.predictions_expected,
            compute=rows.compute_scores,
            on_diagnosis=partial(_write, source, name, rows),
        )
        sums = {**result.sums, **of_set.sums}
        means = metric_means(sums, batches.counts, recipe.objective)
        warn_of_unmeasured(name, means)
        described[name] = {
            "store": str(rows.store.folder),
            "rows": len(rows),
            "examples": int(rows.lengths.size),
            "tokens": int(rows.lengths.sum()),
        }
        measured[name] = {**means, **of_set.scores}
    shares = data.held_out_shares
    if shares:
        measured = {EVAL: mixture_metrics(measured, shares, recipe.objective), **measured}
        described[EVAL] = _described_mixture(recipe, [described[name] for name in shares])
    found: dict[str, Any] = {"source": str(source.folder)}
    for name, metrics in measured.items():
        figures = {**described[name], **metrics}
        found |= {metric_key(name, key): value for key, value in figures.items()}
    return found


def _write(source: ModelSource, name: str, rows: PackedDataset, diagnosis: Diagnosis) -> None:
    """Write the diagnosis of a set into the folder of a run."""
    if isinstance(source, RunSource):
        write_diagnosis(source.folder, name, diagnosis, rows, step=source.step)


def _described_mixture(recipe: DataRecipe, sources: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The store and the counts of all held-out splits of a mixture."""
    counts = {key: sum(one[key] for one in sources) for key in ("rows", "examples", "tokens")}
    return {"store": recipe.data.store, **counts}


def recipe_with_store(source: ModelSource, overrides: Sequence[str]) -> DataRecipe:
    """The part of a recipe that an evaluation needs. Raises UserError if it names no store."""
    recipe = source.data_recipe(overrides)
    if not recipe.data.store:
        raise UserError(
            f"{source.folder}: the model's recipe names no data. Set a store, for example "
            "data.store=stores/book_review (and data.layout, data.sequence_length)."
        )
    return recipe


def _row_sizes(recipe: DataRecipe) -> tuple[int, ...]:
    size = recipe.row_size
    return (size.source, size.target) if recipe.objective.needs_decoder else (size.source,)
