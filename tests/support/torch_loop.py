"""Trainings of transformers' models in a plain loop of torch, from the weights of a recipe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import BertConfig

from ptm.interop.hf.families.bert import Bert
from ptm.interop.hf.heads.base import Head
from ptm.interop.hf.with_head import FamilyWithHead
from ptm.loading.rows import PackedDataset
from ptm.model.build import build_plan
from ptm.model.initial_weights import InitialWeights
from ptm.recipe import Recipe

BERT = (
    *("model.dropout=0.0", "data.packing=false", "schedule={type: constant}"),
    "optimizer={type: adamw, learning_rate: 1.0e-3, weight_decay: 0.0}",
    *("model.embedding={parts: [word, position, segment], positions: 64}",),
    *("train.gradient_clipping=1.0", "tracking.log_every=1"),
    *("train.global_batch_size=8", "train.micro_batch_size=4"),
)
"""Overrides of the small recipe by which it trains what `losses_of` does."""


def bert_of(
    recipe: Recipe, rows: PackedDataset, model: Callable[[BertConfig], Any], head: Head, labels: int
) -> Any:
    """A model of transformers with the initial weights of the recipe."""
    plan = build_plan(recipe.model, rows.objective, vocabulary_size=rows.vocabularies.source.size)
    first = InitialWeights(plan, recipe.model, seed=recipe.seed)
    weights = {name: first[name] for name in first.names}
    named = FamilyWithHead(Bert(), head).to_huggingface(weights, recipe.model, rows.objective)
    bert = model(
        BertConfig(
            vocab_size=len(named["bert.embeddings.word_embeddings.weight"]),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=recipe.model.encoder.heads,  # type: ignore[attr-defined]
            intermediate_size=64,
            max_position_embeddings=64,
            num_labels=labels,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )
    bert.load_state_dict(named, strict=True)
    return bert


def losses_of(
    model: Any,
    recipe: Recipe,
    rows: PackedDataset,
    loss_of: Callable[[Any, dict[str, Tensor]], Tensor],
) -> list[float]:
    """The losses of a plain loop of torch over the batches of the recipe.

    `loss_of`: the loss of the model for the tensors of a batch.
    """
    rate, size = recipe.optimizer.learning_rate, recipe.train.global_batch_size
    # torch's defaults are those of the recipe too.
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    losses = []
    for step in range(recipe.train.steps or 0):
        numbers = np.arange(step * size, (step + 1) * size)
        (batch,) = rows.micro_batches(numbers, size=size)
        tensors = {name: torch.from_numpy(array) for name, array in batch.tensors.items()}
        loss = loss_of(model, tensors)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.train.gradient_clipping)
        optimizer.step()
        losses.append(loss.item())
    return losses
