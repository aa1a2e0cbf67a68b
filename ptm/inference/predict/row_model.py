"""Runs a trained model on examples that are not in a store, one per row.

Shapes: E examples, K texts per example.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from ptm.allocator import return_large_allocations
from ptm.arrays import I64
from ptm.components.objectives import Objective
from ptm.components.objectives.base import RandomSource
from ptm.console.phases import begin_phase, report_done
from ptm.data.examples import TokenSpans
from ptm.data.packing import RowSize, one_per_row
from ptm.data.placement import place
from ptm.errors import UserError
from ptm.inference.predict.base import PredictionOptions
from ptm.interop.sources.base import ModelSource
from ptm.loading.batches import step_batch
from ptm.model.build import build_plan
from ptm.model.plain_model import loaded_model
from ptm.text.vocabulary import Vocabularies

_TOKENS_PER_BATCH = {"cpu": 1024, "cuda": 32768}
"""Cells of a batch, padding included. On a CPU larger batches are slower, and rows that several
inputs share are no faster than sorted ones."""


class RowModel:
    """A model up to some of its outputs, with its tokenizer."""

    def __init__(
        self,
        source: ModelSource,
        objective: Objective,
        options: PredictionOptions,
        *,
        outputs: tuple[str, ...],
    ) -> None:
        """`objective`: that of the model, without terms that only training needs. `outputs`: the
        names of the tensors that are computed.

        Raises UserError if weights are missing, or if the inputs may be longer than the model's
        positions.
        """
        return_large_allocations()
        recipe = source.recipe()
        self._objective = objective
        self.tokenizer = recipe.tokenizer.load()
        self.longest = _sequence_length(source, options)
        """Tokens of the longest row."""
        self._vocabularies = Vocabularies.shared(self.tokenizer.vocabulary)
        plan = build_plan(
            recipe.model, objective, vocabulary_size=self.tokenizer.vocabulary.size
        ).only(*outputs)
        model = loaded_model(plan, source.tensors(), source=str(source.folder), shared=True)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = model.to(self._device)
        self._half = options.precision == "bf16"

    def run(self, texts: TokenSpans) -> tuple[Mapping[str, Tensor], dict[str, Tensor]]:
        """The outputs by name, and the tensors that the objective made of the texts (E, K).

        Both may have further rows, which are padding.
        """
        count = len(texts.part_lengths)
        specials = self._objective.special_token_count(texts.part_lengths.shape[1])
        sides = 1 + self._objective.needs_decoder
        lengths = np.repeat(texts.lengths[:, None] + specials, sides, axis=1)
        size = RowSize(int(lengths.max()), int(lengths.max()))
        rows, chosen = one_per_row(count), np.arange(count, dtype=np.int64)
        placement = place(rows, chosen, np.zeros_like(chosen), lengths=lengths, size=size)
        part = self._objective.collate(
            texts,
            placement,
            vocabularies=self._vocabularies,
            random_source=RandomSource(0, "predict"),
        )
        batch = step_batch([part], self._objective).micro_batches[0]
        tensors = {name: tensor.to(self._device) for name, tensor in batch.items()}
        with (
            torch.inference_mode(),
            torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._half),
        ):
            return self._model(tensors), tensors

    def batches(self, lengths: I64) -> Iterator[I64]:
        """Indices of examples of similar `lengths` (E), longest first, in batches.

        A batch has a bounded number of cells, padding included.
        """
        cells = _TOKENS_PER_BATCH[self._device.type]
        order = np.argsort(-lengths, kind="stable")
        begin = 0
        begin_phase("answering", total=order.size, unit="inputs")
        while begin < order.size:
            end = begin + max(1, cells // int(lengths[order[begin]]))
            yield order[begin:end]
            begin = end
            report_done(min(begin, order.size))


def _sequence_length(source: ModelSource, options: PredictionOptions) -> int:
    recipe = source.recipe()
    most = recipe.model.embedding.max_sequence_length
    length = options.sequence_length
    if length is None:
        return source.data_recipe().data.sequence_length
    least = recipe.objective.min_sequence_length
    if length < least:
        raise UserError(f"--sequence-length {length}: must be at least {least}.")
    if most is not None and length > most:
        raise UserError(
            f"--sequence-length {length}: the model has {most} positions. Give at most {most}."
        )
    return length
