"""`ptm embed`: vectors of texts or of their tokens, from a model's last or from all layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ptm.counted import counted
from ptm.errors import UserError
from ptm.inference.text_batches import TextBatch, read_texts, text_batches
from ptm.interop.sources.base import ModelSource
from ptm.interop.text_length import embeds_texts, limit_of_texts, longest_text
from ptm.model.build import encoder_plan, layers_plan
from ptm.model.plain_model import loaded_model
from ptm.nn.model_shape import Pooling
from ptm.recipe import ModelRecipe
from ptm.recipe.model_block import ModelBlock
from ptm.text.tokenizers import Tokenizer

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class TokenVectors:
    """The tokens of a text, including special tokens, and their vectors (T, D)."""

    tokens: tuple[str, ...]
    vectors: F32


@dataclass(frozen=True)
class LayerMix:
    """A weighted sum of all layers (Peters et al. 2018, section 3.2).

    Layer 0 is the embedding. In an encoder of two streams it is repeated, once per direction. It is
    left out if its width still differs from that of the encoder.
    """

    weights: tuple[float, ...] | None = None
    """The weight of each layer, which the paper's equation 1 calls gamma s_j; default: equal
    weights with the sum 1."""

    def weights_of(self, model: ModelBlock) -> tuple[float, ...]:
        """The weight of each layer of `model`. Raises UserError if their numbers differ."""
        layers = len(layers_plan(model, vocabulary_size=1).outputs)
        repeats = embedding_repeats(model)
        count = layers if repeats else layers - 1
        if self.weights is None:
            return (1 / count,) * count
        if len(self.weights) != count:
            embedding = "the embedding" if repeats else "without the embedding, whose width differs"
            raise UserError(
                f"--layer-weights: {len(self.weights)} weights for a model of {count} layers "
                f"({embedding}, and {layers - 1} of the encoder). Give {count}."
            )
        return self.weights


def embedding_repeats(model: ModelBlock) -> int:
    """How many copies of the embedding have the width of the encoder; 0 if none has."""
    shape = model.shape(vocabulary_size=1)
    read, width = model.encoder.embedding_shape(shape).hidden_size, shape.hidden_size
    if read == width:
        return 1
    return 2 if model.encoder.separate_directions and 2 * read == width else 0


class Embedder:
    """Embeds texts with the embedding and encoder of a model; heads are not loaded.

    The vectors are those of the last layer, or a `mix` of all.

    Every text comes with a place (such as `texts.txt:3`), which names it in errors. The methods
    raise UserError for a text that is empty, not valid UTF-8 or longer than the model reads. A
    model of sentence embeddings cuts longer texts at their ends.
    """

    def __init__(self, source: ModelSource, *, mix: LayerMix | None = None) -> None:
        """Raises UserError if `mix` has another number of weights than the model has layers."""
        self._recipe: ModelRecipe = source.recipe()
        self._objective = embeds_texts(source)
        self._longest = longest_text(source)
        self._limit = limit_of_texts(source)
        self.cut = 0
        """Number of texts that were cut."""
        self._weights = None if mix is None else mix.weights_of(self._recipe.model)
        self._tokenizer: Tokenizer = self._recipe.tokenizer.load()
        build = encoder_plan if mix is None else layers_plan
        plan = build(self._recipe.model, vocabulary_size=self._tokenizer.vocabulary.size)
        model = loaded_model(plan, source.tensors(), source=str(source.folder))
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = model.to(self._device)

    @property
    def width(self) -> int:
        """The numbers of a vector."""
        return self._recipe.model.encoder.hidden_size

    def sentences(
        self,
        texts: Sequence[str],
        *,
        places: Sequence[str],
        pooling: Pooling | None = None,
        dimensions: int | None = None,
    ) -> F32:
        """Return one vector per text, (N, D), pooled over its tokens including special tokens.

        `pooling`: default that of a model of sentence embeddings, otherwise mean. Vectors have the
        length 1 if the model normalises them. `dimensions`: only the first numbers of each vector.
        """
        trained = self._objective
        pooling = pooling or (trained.pooling if trained is not None else "mean")
        ids = self._ids(texts, places)
        vectors = np.zeros((len(ids), dimensions or self.width), dtype=np.float32)
        for batch, hidden in self._hidden(ids):
            real = batch.tensors["example_ids"].to(self._device) != 0
            found = pooled(hidden, real, pooling)[:, :dimensions]
            if trained is not None and trained.normalize:
                found = F.normalize(found, dim=-1)
            vectors[list(batch.text_indices)] = found.cpu().numpy()
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
        cuts = self._objective is not None
        found = read_texts(
            texts,
            self._tokenizer,
            places=places,
            longest=None if cuts else self._longest,
            boundary_roles=self._recipe.objective.boundary_roles,
        )
        return [self._fitting(ids) for ids in found] if cuts else found

    def _fitting(self, ids: list[int]) -> list[int]:
        """The tokens of a text, cut before the last special token to what the model reads."""
        if self._longest is None or len(ids) <= self._longest:
            return ids
        self.cut += 1
        return [*ids[: self._longest - 1], ids[-1]]

    def notes(self) -> list[str]:
        """A sentence on texts that were cut, if any were."""
        if not self.cut:
            return []
        return [
            f"{counted(self.cut, 'text was', 'texts were')}"
            f" longer than {self._longest} tokens and cut at "
            f"the end, as {self._limit} says."
        ]

    def _hidden(self, ids: Sequence[Sequence[int]]) -> Iterator[tuple[TextBatch, Tensor]]:
        """Yield batches of the texts with their vectors (B, T, D), fp32."""
        pad = self._tokenizer.vocabulary.special_id("pad")
        padded = self._recipe.model.encoder.supports_packing
        for batch in text_batches(ids, pad=pad, padded=padded):
            tensors = {name: tensor.to(self._device) for name, tensor in batch.tensors.items()}
            with torch.no_grad():
                yield batch, self._vectors(self._model(tensors))

    def _vectors(self, outputs: Mapping[str, Tensor]) -> Tensor:
        """The last hidden states, or the weighted sum of all layers."""
        if self._weights is None:
            return outputs["hidden"].float()
        embedding, *layers = (outputs[name].float() for name in self._model.plan.outputs)
        repeats = embedding_repeats(self._recipe.model)
        if repeats:
            layers.insert(0, embedding.repeat(1, 1, repeats))
        total = torch.zeros_like(layers[-1])
        for weight, layer in zip(self._weights, layers, strict=True):
            total += weight * layer
        return total


def pooled(hidden: Tensor, real: Tensor, pooling: Pooling) -> Tensor:
    """Pool hidden states (B, T, D) over the tokens to (B, D); `real` (B, T): not padding."""
    if pooling == "first":
        return hidden[:, 0]
    if pooling == "last":
        last = real.sum(dim=1) - 1
        return hidden[torch.arange(len(hidden), device=hidden.device), last]
    if pooling == "max":
        return hidden.masked_fill(~real[..., None], -torch.inf).amax(dim=1)
    return (hidden * real[..., None]).sum(dim=1) / real.sum(dim=1, keepdim=True)
