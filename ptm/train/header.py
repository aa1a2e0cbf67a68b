"""The first lines of a training: what is trained, on how much data, in which batches, where."""

from __future__ import annotations

from pathlib import Path

from ptm.engines.ranks import Ranks
from ptm.recipe import Recipe
from ptm.train.inputs import TrainingInputs


def header_lines(
    folder: Path, recipe: Recipe, inputs: TrainingInputs, ranks: Ranks, *, parameters: int
) -> list[str]:
    """One line each about model, data, batch and engine, which fit into 80 columns."""
    batch, rows = inputs.batch, len(inputs.train)
    epochs = inputs.steps * batch.global_batch_size / rows
    return [
        f"{folder}: {parameters:,} parameters, objective {recipe.objective.type}",
        f"data: {rows:,} rows per epoch ({100 * inputs.train.fill:.1f} % real tokens), "
        f"{epochs:.4g} epochs in {inputs.steps:,} steps",
        f"batch: {batch}",
        f"engine: {recipe.engine}, {ranks}",
    ]
