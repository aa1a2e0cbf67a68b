"""`ptm fill`: predict the most likely tokens at each mask of a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ptm.errors import UserError
from ptm.inference.text_batches import TextBatch, quoted, read_texts, text_batches
from ptm.interop.sources.base import ModelSource
from ptm.model.build import build_plan
from ptm.model.plain_model import loaded_model
from ptm.recipe import ModelRecipe
from ptm.text.tokenizers import Tokenizer


@dataclass(frozen=True)
class Guess:
    """A predicted token and its probability."""

    token: str
    probability: float


class Filler:
    """A masked language model that fills masks."""

    def __init__(self, source: ModelSource) -> None:
        """Raises UserError if the model has no head that predicts masked tokens."""
        self._recipe: ModelRecipe = source.recipe()
        objective = self._recipe.objective
        if (
            "mask" not in objective.special_roles
            or "predicted_positions" not in objective.ragged_tensors
        ):
            raise UserError(
                f"{source.folder}: a model trained with objective {objective.type} cannot fill "
                "masks, because it has no head that predicts masked tokens."
            )
        self.tokenizer: Tokenizer = self._recipe.tokenizer.load()
        self._size = self.tokenizer.vocabulary.size
        # An objective may have several heads; keep only the one that predicts tokens.
        plan = build_plan(self._recipe.model, objective, vocabulary_size=self._size).only("logits")
        self._model = loaded_model(plan, source.tensors(), source=str(source.folder))

    def fill(self, text: str, *, count: int) -> list[list[Guess]]:
        """Return the `count` most likely tokens for each mask of `text`, in order.

        Raises UserError if the text has no mask or is longer than the model reads.
        """
        return self.fill_all([text], count=count)[0]

    def fill_all(self, texts: Sequence[str], *, count: int) -> list[list[list[Guess]]]:
        """Apply `fill` to each of `texts`, in batches."""
        vocabulary = self.tokenizer.vocabulary
        ids = read_texts(
            texts,
            self.tokenizer,
            places=[quoted(text) for text in texts],
            longest=self._recipe.model.embedding.max_sequence_length,
        )
        mask = vocabulary.special_id("mask")
        for text, tokens in zip(texts, ids, strict=True):
            if mask not in tokens:
                raise UserError(
                    f"{quoted(text)}: the text has no {vocabulary.specials['mask']}. Write "
                    f"{vocabulary.specials['mask']} where a token is to be predicted."
                )
        pad, separates = vocabulary.special_id("pad"), self._recipe.model.encoder.supports_packing
        guesses: list[list[list[Guess]]] = [[] for _ in texts]
        for batch in text_batches(ids, pad=pad, padded=separates):
            for number, guess in self._guesses(batch, mask, count):
                guesses[number].append(guess)
        return guesses

    def _guesses(self, batch: TextBatch, mask: int, count: int) -> list[tuple[int, list[Guess]]]:
        """Return (number of the text, guesses) for all masks of the batch, in order."""
        row, column = (batch.tensors["input_ids"] == mask).nonzero(as_tuple=True)
        # The model takes masked positions as indices into the flattened batch.
        at = row * batch.tensors["input_ids"].shape[1] + column
        with torch.no_grad():
            logits = self._model({**batch.tensors, "predicted_positions": at})["logits"]
        # Rows beyond the vocabulary have a probability but no token.
        known = logits.float().softmax(dim=-1)[:, : self._size]
        best = known.topk(min(count, self._size), dim=-1)
        tokens = self.tokenizer.vocabulary.tokens
        return [
            (batch.text_indices[r], [Guess(tokens[i], p) for i, p in zip(ids, row_p, strict=True)])
            for r, ids, row_p in zip(
                row.tolist(), best.indices.tolist(), best.values.tolist(), strict=True
            )
        ]
