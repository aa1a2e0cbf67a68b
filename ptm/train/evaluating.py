"""`ptm evaluate`: the held-out metrics of a run, an export or an import."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ptm.errors import UserError
from ptm.interop.source import Source
from ptm.model.build import build_plan
from ptm.model.loaded import loaded_model
from ptm.nn.allocator import keep_large_blocks
from ptm.recipe.batch import batch_plan
from ptm.train.batches import evaluation_batches
from ptm.train.means import Counted, means_of, metric_sums
from ptm.train.rows import EVAL, open_rows


def evaluate_source(source: Source, overrides: Sequence[str]) -> dict[str, Any]:
    """Metrics over the held-out documents of the store that the recipe (or `overrides`) names.

    Raises UserError where no store is named, it does not fit, or nothing is held out.
    """
    recipe = source.recipe(overrides)
    if not recipe.data.store:
        raise UserError(
            f"{source.folder}: says nothing about data; name a store, e.g. "
            "data.store=stores/book_review (and data.layout, data.sequence_length)."
        )
    if recipe.data.held_out == 0:
        raise UserError("data.held_out is 0: nothing to evaluate on; set e.g. data.held_out=0.01.")
    tokenizer = recipe.tokenizer.load()
    rows = open_rows(recipe, tokenizer, split=EVAL)
    plan = build_plan(recipe.model, recipe.objective, vocabulary_size=tokenizer.vocabulary.size)
    keep_large_blocks()
    model = loaded_model(plan, source.tensors(), source=str(source.folder))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    size = batch_plan(
        global_rows=recipe.train.global_batch_size,
        most_micro_rows=recipe.train.micro_batch_size,
        ranks=1,
    ).micro_rows
    batches = Counted(evaluation_batches(rows, size), recipe.objective)
    sums = metric_sums(model.to(device), recipe.objective, batches, device)
    return {
        "source": str(source.folder),
        "store": recipe.data.store,
        "rows": len(rows),
        "examples": int(rows.lengths.size),
        "tokens": int(rows.lengths.sum()),
        **means_of(sums, batches.counts, recipe.objective),
    }
