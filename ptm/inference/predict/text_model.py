"""A model with one answer per text or pair of texts: tokenises, batches by length, runs.

Shapes: E inputs with tokens, K texts per input (1 or 2), N tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from ptm.arrays import I64, exclusive_cumsum, ragged_ranges
from ptm.components.objectives import Objective
from ptm.components.objectives.base import RandomSource
from ptm.data.examples import TokenSpans
from ptm.data.labelled import fitting_lengths
from ptm.data.packing import RowSize, one_per_row
from ptm.data.placement import place
from ptm.errors import UserError
from ptm.inference.predict.base import PredictionOptions
from ptm.inference.predict.text_files import InputText
from ptm.interop.sources.base import ModelSource
from ptm.loading.batches import step_batch
from ptm.model.build import build_plan
from ptm.model.plain_model import loaded_model
from ptm.text.vocabulary import Vocabularies

_TOKENS_PER_BATCH = {"cpu": 1024, "cuda": 32768}
"""Cells of a batch, padding included. On a CPU larger batches are slower, and rows that several
inputs share are no faster than sorted ones."""


@dataclass(frozen=True)
class TextOutputs:
    """What the model computed for a batch of inputs: their indices in the window, the head's
    output (E, …) in fp32."""

    indices: I64
    values: Tensor


class TextModel:
    """Runs a model whose objective reads labelled texts on texts without labels."""

    def __init__(
        self,
        source: ModelSource,
        objective: Objective,
        options: PredictionOptions,
        *,
        output: str,
    ) -> None:
        """`objective`: that of the model, without terms that only training needs. `output`: the
        name of the tensor that has one row per input.

        Raises UserError if weights are missing, or if the inputs may be longer than the model's
        positions.
        """
        recipe = source.recipe()
        self._objective = objective
        self._output = output
        self._tokenizer = recipe.tokenizer.load()
        self._vocabularies = Vocabularies.shared(self._tokenizer.vocabulary)
        self._longest = _sequence_length(source, options)
        plan = build_plan(
            recipe.model, objective, vocabulary_size=self._tokenizer.vocabulary.size
        ).only(output)
        model = loaded_model(plan, source.tensors(), source=str(source.folder))
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = model.to(self._device)
        self._half = options.precision == "bf16"
        self._texts: int | None = None
        self._cut = self._empty = 0
        self._damaged: list[InputText] = []
        self._damaged_count = 0

    def outputs(self, inputs: Sequence[InputText]) -> Iterator[TextOutputs]:
        """Yield the outputs for all inputs that have tokens, longest first.

        Raises UserError if some inputs are single texts and others are pairs.
        """
        self._count(inputs)
        usable = [index for index, one in enumerate(inputs) if one.texts]
        if not usable:
            return
        count = self._texts_per_input(inputs, usable)
        texts = [text for index in usable for text in inputs[index].texts]
        tokens, sizes = self._tokenizer.encode_arrays(texts)
        lengths = sizes.reshape(-1, count)
        starts = exclusive_cumsum(sizes).reshape(-1, count)
        specials = self._objective.special_token_count(count)
        kept = fitting_lengths(lengths, self._longest - specials, specials_per_text=0)
        real = np.flatnonzero(lengths.min(axis=1))
        self._cut += int(np.count_nonzero((lengths - kept)[real].max(axis=1, initial=0)))
        self._empty += len(usable) - real.size
        indices = np.array(usable, dtype=np.int64)[real]
        spans = _Spans(tokens, starts[real], kept[real])
        for chosen in _batches(spans.lengths + specials, _TOKENS_PER_BATCH[self._device.type]):
            yield TextOutputs(indices[chosen], self._run(spans.of(chosen)))

    def _run(self, texts: TokenSpans) -> Tensor:
        """The output for texts (E, K), in their order."""
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
            found: Tensor = self._model(tensors)[self._output]
        # Further rows are padding.
        return found[:count].float().cpu()

    def _texts_per_input(self, inputs: Sequence[InputText], usable: Sequence[int]) -> int:
        for index in usable:
            count = len(inputs[index].texts)
            if self._texts is None:
                self._texts = count
            if count != self._texts:
                kinds = {1: "a single text", 2: "a pair of texts"}
                raise UserError(
                    f"{inputs[index].place}: the input is {kinds[count]}, but the ones before are "
                    f"each {kinds[self._texts]}. Predict for them separately."
                )
        return cast(int, self._texts)

    def _count(self, inputs: Sequence[InputText]) -> None:
        for one in inputs:
            if one.problem:
                self._damaged_count += 1
                self._damaged = self._damaged or [one]
            elif not one.texts:
                self._empty += 1

    def notes(self) -> list[str]:
        """Sentences about inputs that were cut, and inputs without an answer."""
        found = []
        if self._cut:
            found.append(
                f"{self._cut:,} texts were longer than {self._longest} tokens and were cut at "
                "their ends. --sequence-length sets the limit."
            )
        if self._empty:
            found.append(f"{self._empty:,} inputs have no text, so they have no answer.")
        if self._damaged:
            first = self._damaged[0]
            found.append(
                f"{self._damaged_count:,} inputs could not be read, so they have no answer; the "
                f"first is {first.place}: {first.problem.rstrip('.')}."
            )
        return found


@dataclass(frozen=True)
class _Spans:
    """Ranges of tokens: `starts` and `part_lengths` (E, K) in `tokens` (N)."""

    tokens: I64
    starts: I64
    part_lengths: I64

    @property
    def lengths(self) -> I64:
        return np.asarray(self.part_lengths.sum(axis=1))

    def of(self, chosen: I64) -> TokenSpans:
        """The inputs `chosen`; the labels that training would have are 0."""
        parts = self.part_lengths[chosen]
        at = ragged_ranges(self.starts[chosen].ravel(), parts.ravel())
        labels = np.zeros(len(chosen), dtype=np.int64)
        return TokenSpans(self.tokens[at].astype(np.int64), parts, None, labels)


def _batches(lengths: I64, cells: int) -> Iterator[I64]:
    """Indices of inputs of similar `lengths` (E), longest first, at most `cells` with padding."""
    order = np.argsort(-lengths, kind="stable")
    begin = 0
    while begin < order.size:
        end = begin + max(1, cells // int(lengths[order[begin]]))
        yield order[begin:end]
        begin = end


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
