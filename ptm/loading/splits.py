"""The training split and the evaluation sets of a recipe, opened and checked."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ptm.errors import UserError
from ptm.loading.rows import TRAIN, PackedDataset, open_rows, store_of
from ptm.recipe import DataRecipe
from ptm.recipe.data_block import EVAL
from ptm.text.labels import check_evaluated_labels, check_trained_labels
from ptm.text.tokenizers import Tokenizer

_MOST_ROWS, _ROWS_TOGETHER = 100_000, 64
_TEXTS = {1: "single texts", 2: "pairs of texts"}


def open_splits(
    recipe: DataRecipe, tokenizer: Tokenizer
) -> tuple[PackedDataset, dict[str, PackedDataset]]:
    """Open the rows to train on, and those of each evaluation set by name.

    Raises UserError if one is empty, or if their labels cannot be learned.
    """
    train = open_training_rows(recipe, tokenizer)
    _check_predictable(recipe, train)
    evaluation = open_evaluation_rows(recipe, tokenizer)
    _check_labels(recipe, train, evaluation)
    return train, evaluation


def open_training_rows(recipe: DataRecipe, tokenizer: Tokenizer) -> PackedDataset:
    """Open the rows to train on. Raises UserError if there is no example for this recipe."""
    rows = open_rows(recipe, tokenizer, split=TRAIN)
    if not len(rows):
        left_out = f" (left out of the examples: {rows.left_out})" if rows.left_out else ""
        raise UserError(
            f'data.store: "{rows.store.folder}" has no examples to train on with data.held_out = '
            f"{recipe.data.held_out}{left_out}. Set a smaller value, or use a larger corpus."
        )
    return rows


def open_evaluation_rows(recipe: DataRecipe, tokenizer: Tokenizer) -> dict[str, PackedDataset]:
    """Open the rows of each evaluation set, by name. Raises UserError if one is empty."""
    found = {}
    for name in recipe.data.evaluation_names:
        found[name] = open_rows(recipe, tokenizer, split=name)
        if not len(found[name]):
            key, store = store_of(recipe, name)
            with_share = f" with data.held_out = {recipe.data.held_out}" if name == EVAL else ""
            raise UserError(f'{key}: "{store}" has no examples to evaluate on{with_share}.')
    return found


def _check_predictable(recipe: DataRecipe, rows: PackedDataset) -> None:
    """Raise UserError if no row has anything to predict, as in a script that is all [UNK].

    Stops at the first rows that have. At most 100,000 rows are looked at, evenly spread.
    """
    objective = rows.objective
    weights = objective.loss_weights(0)
    counts = {metric.count for metric in objective.metrics if weights.get(metric.name)}
    looked_at = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _MOST_ROWS), dtype=np.int64))
    for first in range(0, looked_at.size, _ROWS_TOGETHER):
        some = looked_at[first : first + _ROWS_TOGETHER]
        found = rows.micro_batch(some, np.zeros_like(some)).counts
        if any(found[count] for count in counts):
            return
    raise UserError(
        f'data.store: "{rows.store.folder}": objective {objective.type} has nothing to predict in '
        f"any of {looked_at.size:,} rows, because special and unknown tokens are not predicted. "
        f"Use a vocabulary of this language (tokenizer: {recipe.tokenizer.source})."
    )


def _check_labels(
    recipe: DataRecipe, train: PackedDataset, evaluation: Mapping[str, PackedDataset]
) -> None:
    """Raise UserError if the labels of all sets cannot be learned from the training examples."""
    if recipe.objective.label_set is None:
        return
    trained = train.label_counts
    # First the evaluation sets, since their message says where a missing label occurs.
    for name, rows in evaluation.items():
        key, store = store_of(recipe, name)
        where = f"{key}: {store} (set {name})"
        if rows.texts_per_example != train.texts_per_example:
            raise UserError(
                f"{where}: the examples are {_TEXTS[rows.texts_per_example]}, but those of the "
                f"training are {_TEXTS[train.texts_per_example]}. Give both corpora the same "
                "columns."
            )
        check_evaluated_labels(rows.label_counts, trained, where=where)
    check_trained_labels(trained, where=f"data.store: {recipe.data.store}")
