"""Rows of source-target pairs, and small models with random weights for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ptm.components.objectives.base import MicroBatch, Objective, RandomSource
from ptm.data.documents import Documents
from ptm.data.packing import PackedRows, RowSize, one_per_row, pack_sides
from ptm.data.placement import place
from ptm.data.two_sides import SourceTargetPairs
from ptm.model.build import build_plan
from ptm.model.plain_model import PlainModel
from ptm.recipe.model_block import ModelBlock
from ptm.text.vocabulary import Vocabularies

if TYPE_CHECKING:
    from ptm.store.reader import TokenStore

SIZES: dict[str, Any] = {
    "type": "transformer",
    "layers": 2,
    "hidden_size": 32,
    "heads": 2,
    "feed_forward_size": 64,
}


class TwoSideRows:
    """The rows that an objective makes of a store of source-target pairs."""

    def __init__(
        self,
        store: TokenStore,
        vocabularies: Vocabularies,
        objective: Objective,
        size: RowSize,
        *,
        packing: bool = True,
    ) -> None:
        self.store = store
        self.vocabularies = vocabularies
        self.objective = objective
        self.size = size
        examples = objective.index(Documents(store), size=size, vocabularies=vocabularies, seed=7)
        assert isinstance(examples, SourceTargetPairs)
        self.examples = examples
        self.lengths = objective.row_lengths(examples)
        count = len(self.lengths)
        self.rows: PackedRows = pack_sides(self.lengths, size) if packing else one_per_row(count)

    def batch(self, rows: list[int] | range) -> MicroBatch:
        chosen = np.array(rows, dtype=np.int64)
        placement = place(
            self.rows, chosen, np.zeros_like(chosen), lengths=self.lengths, size=self.size
        )
        return self.objective.collate(
            self.examples.texts(self.store, placement.example),
            placement,
            vocabularies=self.vocabularies,
            random_source=RandomSource(7, "train"),
        )

    def model(self, block: ModelBlock, *outputs: str) -> PlainModel:
        """A model with random weights large enough to show which inputs each output depends on."""
        torch.manual_seed(0)
        plan = build_plan(
            block,
            self.objective,
            vocabulary_size=self.vocabularies.source.size,
            target_vocabulary_size=self.vocabularies.target.size,
            outputs=outputs or None,
        )
        model = PlainModel(plan).eval()
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        return model


def tensors_of(batch: MicroBatch) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in batch.tensors.items()}


def words(ids: Any, tokens: tuple[str, ...]) -> str:
    return " ".join(tokens[int(token)] for token in ids)


def moved(model: PlainModel, tensors: dict[str, Tensor], name: str, column: int) -> Tensor:
    """The columns of row 0 whose logits depend on the token of tensor `name` at `column`."""
    others = {key: tensor.clone() for key, tensor in tensors.items()}
    others[name][0, column] = 5 if int(others[name][0, column]) != 5 else 6
    with torch.no_grad():
        before, after = model(tensors)["logits"][0], model(others)["logits"][0]
    return ((before - after).abs().amax(dim=-1) > 1e-5).nonzero().flatten()


def losses_while_learning(
    model: PlainModel, rows: TwoSideRows, batch: MicroBatch, *, steps: int
) -> list[float]:
    """The mean loss at each of `steps` training steps on one batch."""
    tensors = tensors_of(batch)
    model.train()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    for name, parameter in model.named_parameters():
        if name.endswith("norm.weight"):
            torch.nn.init.ones_(parameter)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    found = []
    for _ in range(steps):
        loss = (
            rows.objective.metric_sums(model(tensors), tensors)["lm_loss"]
            / batch.counts["predicted"]
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(float(loss.detach()))
    return found
