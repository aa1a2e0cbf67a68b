"""The losses of a fine-tuning in transformers: equal weights, batches and optimizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor

from ptm.interop.hf.io.export import export_to_huggingface
from ptm.interop.import_model import write_imported
from ptm.interop.sources.open import open_source
from ptm.loading.rows import TRAIN, PackedDataset, open_rows
from ptm.model.build import build_plan
from ptm.model.initial_weights import InitialWeights
from ptm.recipe import Recipe, load_recipe
from tests.support.small_runs import Runs

Arguments = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
"""The arguments of transformers' model for the tensors of a batch of ptm."""

SETTINGS = (
    *("model.dropout=0.0", "data.packing=false", "schedule={type: constant}"),
    "optimizer={type: adamw, learning_rate: 1.0e-3, weight_decay: 0.0}",
    *("train.gradient_clipping=1.0", "tracking.log_every=1"),
    *("train.global_batch_size=8", "train.micro_batch_size=4"),
)
"""Overrides of a training that `their_losses` repeats: two micro-batches per step."""


def their_losses(
    runs: Runs, options: tuple[str, ...], folder: Path, auto_class: str, arguments: Arguments
) -> list[float]:
    """The loss of each step of the training with `options`, computed by transformers.

    The model is the export of the initial weights to `folder`, loaded by `auto_class` without
    missing or unexpected tensors.
    """
    recipe_path, *overrides = runs.arguments("curve", *options)
    recipe = load_recipe(recipe_path, overrides)
    rows = open_rows(recipe, recipe.tokenizer.load(), split=TRAIN)
    model, info = getattr(transformers, auto_class).from_pretrained(
        _exported(recipe, rows, folder), output_loading_info=True
    )
    assert {key: list(value) for key, value in info.items() if value} == {}
    return _losses(model, recipe, rows, arguments)


def _exported(recipe: Recipe, rows: PackedDataset, folder: Path) -> Path:
    """The folder of transformers with the initial weights of a recipe."""
    plan = build_plan(recipe.model, rows.objective, vocabulary_size=rows.vocabularies.source.size)
    first = InitialWeights(plan, recipe.model, seed=recipe.seed)
    blocks = recipe.model_dump(mode="json", include={"tokenizer", "model", "objective"})
    write_imported(folder / "first", blocks, {n: first[n] for n in first.names}, heading="first")
    source = open_source(str(folder / "first"))
    export_to_huggingface(source, folder / "theirs", weights_format="safetensors")
    return folder / "theirs"


def _losses(model: Any, recipe: Recipe, rows: PackedDataset, arguments: Arguments) -> list[float]:
    rate, size = recipe.optimizer.learning_rate, recipe.train.global_batch_size
    # torch's defaults are those of the recipe too.
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    losses = []
    for step in range(recipe.train.steps or 0):
        numbers = np.arange(step * size, (step + 1) * size)
        (batch,) = rows.micro_batches(numbers, size=size)
        tensors = {name: torch.from_numpy(array) for name, array in batch.tensors.items()}
        mask = (tensors["example_ids"] > 0).long()
        inputs = {"input_ids": tensors["input_ids"], "attention_mask": mask}
        loss: Tensor = model(**inputs, **arguments(tensors)).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.train.gradient_clipping)
        optimizer.step()
        losses.append(loss.item())
    return losses


def our_losses(runs: Runs, name: str) -> list[float]:
    """The loss of each step of a training."""
    return [record["loss"] for record in runs.metrics(name) if record["split"] == "train"]
