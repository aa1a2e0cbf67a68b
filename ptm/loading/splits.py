"""The training split and the evaluation sets of a recipe, opened and checked."""

from __future__ import annotations

from collections.abc import Mapping

from ptm.errors import UserError
from ptm.loading.rows import TRAIN, PackedDataset, open_rows, store_of
from ptm.recipe import DataRecipe
from ptm.recipe.data_block import EVAL
from ptm.text.labels import check_evaluated_labels, check_trained_labels
from ptm.text.tokenizers import Tokenizer

_TEXTS = {1: "single texts", 2: "pairs of texts"}


def open_splits(
    recipe: DataRecipe, tokenizer: Tokenizer
) -> tuple[PackedDataset, dict[str, PackedDataset]]:
    """Open the rows to train on, and those of each evaluation set by name.

    Raises UserError if one is empty, or if their labels cannot be learned.
    """
    train = open_training_rows(recipe, tokenizer)
    evaluation = open_evaluation_rows(recipe, tokenizer)
    _check_labels(recipe, train, evaluation)
    return train, evaluation


def open_training_rows(recipe: DataRecipe, tokenizer: Tokenizer) -> PackedDataset:
    """Open the rows to train on. Raises UserError if the store has none for this recipe."""
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
