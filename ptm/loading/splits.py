"""The training split and the evaluation sets of a recipe, opened and checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from ptm.errors import UserError
from ptm.loading.mixed import MixedDataset
from ptm.loading.rows import TRAIN, PackedDataset, open_rows
from ptm.loading.training_rows import TrainingRows
from ptm.recipe import DataRecipe
from ptm.recipe.data_block import EVAL, UNNAMED, StoreInput
from ptm.text.labels import (
    MultiLabelSet,
    check_evaluated_labels,
    check_trained_labels,
    check_trained_multi_labels,
    check_trained_tags,
    warn_of_unseen_tags,
)
from ptm.text.tokenizers import Tokenizer

_MOST_ROWS, _ROWS_TOGETHER = 100_000, 64
_TEXTS = {1: "single texts", 2: "pairs of texts"}


def open_splits(
    recipe: DataRecipe, tokenizer: Tokenizer
) -> tuple[TrainingRows, dict[str, PackedDataset]]:
    """Open the rows to train on, and those of each set that is evaluated during training, by name.

    Raises UserError if one is empty, or if their labels cannot be learned.
    """
    train = open_training_rows(recipe, tokenizer)
    for name, rows in train.sources.items():
        _check_predictable(recipe, rows, key=recipe.data.training_inputs[name].store_key)
    evaluation = open_evaluation_rows(recipe, tokenizer, during_training=True)
    _check_labels(recipe, train, evaluation)
    return train, evaluation


def open_training_rows(recipe: DataRecipe, tokenizer: Tokenizer) -> TrainingRows:
    """Open the rows to train on. Raises UserError if a source has no example for this recipe."""
    data = recipe.data
    sources = {}
    for name, one in data.training_inputs.items():
        rows = sources[name] = open_rows(recipe, tokenizer, split=TRAIN, source=name)
        if not len(rows):
            left_out = f" (left out of the examples: {rows.left_out})" if rows.left_out else ""
            raise UserError(
                f'{one.store_key}: "{rows.store.folder}" has no examples to train on with '
                f"data.held_out = {data.held_out}{left_out}. Set a smaller value, or use a larger "
                "corpus."
            )
    if not data.sources:
        return sources[UNNAMED]
    return MixedDataset(
        sources, data.shares, exhaustion=data.exhaustion or "repeat", seed=recipe.seed, split=TRAIN
    )


def open_evaluation_rows(
    recipe: DataRecipe, tokenizer: Tokenizer, *, during_training: bool = False
) -> dict[str, PackedDataset]:
    """Open the rows of each evaluation set, by name. Raises UserError if one is empty.

    `during_training`: leave out the sets that are not evaluated during training.
    """
    found = {}
    for name, one in recipe.data.evaluation_inputs.items():
        if during_training and not one.during_training:
            continue
        held_out = one.source is not None
        split, source = (EVAL, one.source) if one.source is not None else (name, UNNAMED)
        found[name] = open_rows(recipe, tokenizer, split=split, source=source)
        if not len(found[name]):
            with_share = f" with data.held_out = {recipe.data.held_out}" if held_out else ""
            raise UserError(
                f'{one.store.store_key}: "{one.store.store}" has no examples to evaluate on'
                f"{with_share}."
            )
    return found


def _check_predictable(recipe: DataRecipe, rows: PackedDataset, *, key: str) -> None:
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
        f'{key}: "{rows.store.folder}": objective {objective.type} has nothing to predict in '
        f"any of {looked_at.size:,} rows, because special and unknown tokens are not predicted. "
        f"Use a vocabulary of this language (tokenizer: {recipe.tokenizer.source})."
    )


def _check_labels(
    recipe: DataRecipe, train: TrainingRows, evaluation: Mapping[str, PackedDataset]
) -> None:
    """Raise UserError if the labels of all sets cannot be learned from the training examples."""
    if recipe.objective.label_set is None:
        return
    if recipe.data.layout == "tagged":
        counts: Counter[str] = Counter()
        for rows in train.sources.values():
            counts.update(rows.label_counts)
        check_trained_tags(counts, where=f"data.store: {recipe.data.store}")
        for name, rows in evaluation.items():
            where = f"{_place(recipe.data.evaluation_inputs[name].store)} (set {name})"
            warn_of_unseen_tags(rows.label_counts, counts, where=where)
        return
    several = isinstance(recipe.objective.label_set, MultiLabelSet)
    first, *others = train.sources
    columns = train.sources[first].texts_per_example
    trained: Counter[str] = Counter()
    for name, rows in train.sources.items():
        # With `update`, unlike `+`, labels without examples stay.
        trained.update(rows.label_counts)
        if name in others and rows.texts_per_example != columns:
            raise UserError(
                f"{_place(recipe.data.training_inputs[name])} (source {name}): the examples are "
                f"{_TEXTS[rows.texts_per_example]}, but those of the source {first} are "
                f"{_TEXTS[columns]}. Give both corpora the same columns."
            )
    # First the evaluation sets, since their message says where a missing label occurs.
    for name, rows in evaluation.items():
        where = f"{_place(recipe.data.evaluation_inputs[name].store)} (set {name})"
        if rows.texts_per_example != columns:
            raise UserError(
                f"{where}: the examples are {_TEXTS[rows.texts_per_example]}, but those of the "
                f"training are {_TEXTS[columns]}. Give both corpora the same columns."
            )
        if several:
            warn_of_unseen_tags(rows.label_counts, trained, where=where, what="label", unit="text")
        else:
            check_evaluated_labels(rows.label_counts, trained, where=where)
    check_trained = check_trained_multi_labels if several else check_trained_labels
    check_trained(trained, where=f"data.store: {recipe.data.store}")


def _place(store: StoreInput) -> str:
    """The key of a store and its path, for messages."""
    return f"{store.store_key}: {store.store}"
