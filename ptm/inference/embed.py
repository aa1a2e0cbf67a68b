"""`ptm embed`: vectors of texts or of their tokens, from a model's last hidden state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptm.errors import UserError
from ptm.inference.text_batches import TextBatch, read_texts, text_batches
from ptm.interop.sources.base import ModelSource
from ptm.model.build import encoder_plan
from ptm.model.plain_model import loaded_model
from ptm.recipe import ModelRecipe
from ptm.text.tokenizers import Tokenizer

Pooling = Literal["first", "mean", "max"]
F32 = NDArray[np.float32]


@dataclass(frozen=True)
class TokenVectors:
    """The tokens of a text, including special tokens, and their vectors (T, D)."""

    tokens: tuple[str, ...]
    vectors: F32


class Embedder:
    """Embeds texts with the embedding and encoder of a model; heads are not loaded.

    Every text comes with a place (such as `texts.txt:3`), which names it in errors. The methods
    raise UserError for a text that is empty, not valid UTF-8 or longer than the model reads.
    """

    def __init__(self, source: ModelSource) -> None:
        self._recipe: ModelRecipe = source.recipe()
        self._tokenizer: Tokenizer = self._recipe.tokenizer.load()
        plan = encoder_plan(self._recipe.model, vocabulary_size=self._tokenizer.vocabulary.size)
        model = loaded_model(plan, source.tensors(), source=str(source.folder))
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = model.to(self._device)

    def sentences(self, texts: Sequence[str], *, places: Sequence[str], pooling: Pooling) -> F32:
        """Return one vector per text, (N, D), pooled over its tokens including special tokens."""
        ids = self._ids(texts, places)
        vectors = np.zeros((len(ids), self._recipe.model.encoder.hidden_size), dtype=np.float32)
        for batch, hidden in self._hidden(ids):
            real = batch.tensors["example_ids"].to(self._device) != 0
            vectors[list(batch.text_indices)] = pooled(hidden, real, pooling).cpu().numpy()
        return vectors

    def tokens(self, texts: Sequence[str], *, places: Sequence[str]) -> list[TokenVectors]:
        """Return the tokens of each text with one vector per token."""
        ids = self._ids(texts, places)
        names = self._tokenizer.vocabulary.tokens
        found: dict[int, TokenVectors] = {}
        for batch, hidden in self._hidden(ids):
            array = hidden.cpu().numpy()
            for number, length, vectors in zip(
                batch.text_indices, batch.lengths, array, strict=True
            ):
                tokens = tuple(names[token] for token in ids[number])
                found[number] = TokenVectors(tokens, vectors[:length].copy())
        return [found[number] for number in range(len(ids))]

    def _ids(self, texts: Sequence[str], places: Sequence[str]) -> list[list[int]]:
        for text, place in zip(texts, places, strict=True):
            if not text.strip():
                raise UserError(f"{place}: the text is empty.")
        longest = self._recipe.model.embedding.max_sequence_length
        return read_texts(texts, self._tokenizer, places=places, longest=longest)

    def _hidden(self, ids: Sequence[Sequence[int]]) -> Iterator[tuple[TextBatch, Tensor]]:
        """Yield batches of the texts with their last hidden states (B, T, D), fp32."""
        pad = self._tokenizer.vocabulary.special_id("pad")
        padded = self._recipe.model.encoder.supports_packing
        for batch in text_batches(ids, pad=pad, padded=padded):
            tensors = {name: tensor.to(self._device) for name, tensor in batch.tensors.items()}
            with torch.no_grad():
                yield batch, self._model(tensors)["hidden"].float()


def pooled(hidden: Tensor, real: Tensor, pooling: Pooling) -> Tensor:
    """Pool hidden states (B, T, D) over the tokens to (B, D); `real` (B, T): not padding."""
    if pooling == "first":
        return hidden[:, 0]
    if pooling == "max":
        return hidden.masked_fill(~real[..., None], -torch.inf).amax(dim=1)
    return (hidden * real[..., None]).sum(dim=1) / real.sum(dim=1, keepdim=True)
