"""A model with one answer per text or pair of texts: tokenises, batches by length, runs.

Shapes: E inputs with tokens, K texts per input (1 or 2), N tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from torch import Tensor

from ptm.arrays import I64, exclusive_cumsum, ragged_ranges
from ptm.components.objectives import Objective
from ptm.counted import counted
from ptm.data.examples import TokenSpans
from ptm.data.labelled import fitting_lengths
from ptm.errors import UserError
from ptm.inference.predict.base import PredictionOptions
from ptm.inference.predict.row_model import RowModel
from ptm.inference.predict.text_files import InputText
from ptm.inference.predict.unanswered import Unanswered
from ptm.interop.sources.base import ModelSource
from ptm.store.reader import TokenStore

_KINDS = {1: "single texts", 2: "pairs of texts"}


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
        self._objective = objective
        self._output = output
        self._model = RowModel(source, objective, options, outputs=(output,))
        self._longest = self._model.longest
        self._texts: int | None = None
        self._trained = _texts_of_training(source)
        self._cut = 0
        self._unanswered = Unanswered()

    def outputs(self, inputs: Sequence[InputText]) -> Iterator[TextOutputs]:
        """Yield the outputs for all inputs that have tokens, longest first.

        Raises UserError if some inputs are single texts and others are pairs.
        """
        for one in inputs:
            if not one.texts:
                self._unanswered.note(one.place, one.problem)
        usable = [index for index, one in enumerate(inputs) if one.texts]
        if not usable:
            return
        count = self._texts_per_input(inputs, usable)
        texts = [text for index in usable for text in inputs[index].texts]
        tokens, sizes = self._model.tokenizer.encode_arrays(texts)
        lengths = sizes.reshape(-1, count)
        starts = exclusive_cumsum(sizes).reshape(-1, count)
        specials = self._objective.special_token_count(count)
        kept = fitting_lengths(lengths, self._longest - specials, specials_per_text=0)
        real = np.flatnonzero(lengths.min(axis=1))
        self._cut += int(np.count_nonzero((lengths - kept)[real].max(axis=1, initial=0)))
        self._unanswered.add_empty(len(usable) - real.size)
        indices = np.array(usable, dtype=np.int64)[real]
        spans = _Spans(tokens, starts[real], kept[real])
        for chosen in self._model.batches(spans.part_lengths.sum(axis=1) + specials):
            outputs, _ = self._model.run(spans.of(chosen))
            yield TextOutputs(indices[chosen], outputs[self._output][: chosen.size].float().cpu())

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

    def notes(self) -> list[str]:
        """Sentences about inputs that were cut, and inputs without an answer."""
        found = []
        if None not in (self._texts, self._trained) and self._texts != self._trained:
            given, trained = (_KINDS[count] for count in (self._texts, self._trained) if count)
            found.append(
                f"The inputs are {given}, but the model was trained on {trained}: its answers mean "
                "little."
            )
        if self._cut:
            found.append(
                f"{counted(self._cut, 'text was', 'texts were')}"
                f" longer than {self._longest} tokens and cut "
                "at the end. --sequence-length sets the limit."
            )
        return [*found, *self._unanswered.sentences()]


@dataclass(frozen=True)
class _Spans:
    """Ranges of tokens: `starts` and `part_lengths` (E, K) in `tokens` (N)."""

    tokens: I64
    starts: I64
    part_lengths: I64

    def of(self, chosen: I64) -> TokenSpans:
        """The inputs `chosen`; the labels that training would have are 0."""
        parts = self.part_lengths[chosen]
        at = ragged_ranges(self.starts[chosen].ravel(), parts.ravel())
        labels = np.zeros(len(chosen), dtype=np.int64)
        return TokenSpans(self.tokens[at].astype(np.int64), parts, None, labels)


def _texts_of_training(source: ModelSource) -> int | None:
    """Whether the model was trained on single texts (1) or pairs (2); None if it is not known.

    By the fields of its recipe, or by its store if that is on this machine.
    """
    try:
        data = source.data_recipe().data
        if data.fields.text_b is not None:
            return 2
        shards = TokenStore.open(data.store, key="data.store").info.shards
    except UserError:
        return None
    texts = sum(one.sentences for one in shards) / sum(one.documents for one in shards)
    return int(texts) if texts in (1, 2) else None
