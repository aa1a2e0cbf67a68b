"""`ptm fill`: the most likely tokens at each mask of a text."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ptm.errors import UserError
from ptm.interop.source import Source
from ptm.model.build import build_plan
from ptm.model.loaded import loaded_model
from ptm.recipe import Recipe
from ptm.text.tokenizers import Tokenizer


@dataclass(frozen=True)
class Guess:
    """A token and its probability."""

    token: str
    probability: float


class Filler:
    """A masked language model that fills masks."""

    def __init__(self, source: Source) -> None:
        self._recipe: Recipe = source.recipe()
        if "mask" not in self._recipe.objective.special_roles:
            raise UserError(
                f"{source.folder}: was trained with objective {self._recipe.objective.type}, which "
                "knows no masks to fill."
            )
        self.tokenizer: Tokenizer = self._recipe.tokenizer.load()
        plan = build_plan(
            self._recipe.model,
            self._recipe.objective,
            vocabulary_size=self.tokenizer.vocabulary.size,
        )
        self._model = loaded_model(plan, source.tensors(), source=str(source.folder))

    def fill(self, text: str, *, count: int) -> list[list[Guess]]:
        """For each mask of `text`, in order, the `count` most likely tokens.

        Raises UserError where the text has no mask or is too long.
        """
        ids = torch.tensor([self.tokenizer.encode_marked(text)])
        mask = self.tokenizer.vocabulary.specials["mask"]
        at = (ids[0] == self.tokenizer.vocabulary.special_id("mask")).nonzero().flatten()
        if not len(at):
            raise UserError(f'"{text}": has no {mask}; write it where a token is to be guessed.')
        limit = self._recipe.model.embedding.longest_sequence
        if limit is not None and ids.shape[1] > limit:
            raise UserError(f"the text has {ids.shape[1]} tokens, the model reads {limit}.")
        ones = torch.ones_like(ids)
        tensors = {
            "input_ids": ids,
            "position_ids": torch.arange(ids.shape[1])[None],
            "segment_ids": ones,
            "example_ids": ones,
            "predicted_positions": at,
        }
        with torch.no_grad():
            probabilities = self._model(tensors)["logits"].float().softmax(dim=-1)
        best = probabilities.topk(min(count, probabilities.shape[1]), dim=-1)
        tokens = self.tokenizer.vocabulary.tokens
        return [
            [Guess(tokens[i], float(p)) for i, p in zip(row_ids, row, strict=True)]
            for row_ids, row in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]
