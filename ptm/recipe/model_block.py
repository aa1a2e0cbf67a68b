"""The recipe's `model` block: embedding, encoder, decoder and initial weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from pydantic import Field, model_validator

from ptm.component import Config, PositiveFloat
from ptm.components.decoders import AnyDecoder, Decoder
from ptm.components.embeddings import EmbeddingConfig, TargetEmbeddingConfig
from ptm.components.encoders import AnyEncoder, Encoder
from ptm.errors import UserError
from ptm.nn.model_shape import WORD_KEY, ModelShape


class InitBlock(Config):
    """Initial weights: matrices from N(0, std), biases 0, norm scales 1."""

    std: PositiveFloat = 0.02
    """Standard deviation of the weights."""
    embedding_std: PositiveFloat | None = None
    """Standard deviation of word embeddings; default: `std` (T5 uses 1)."""
    residual_scaling: bool = False
    """Divide the std of the output projections of each branch by the square root of the number of
    residual branches (GPT-2)."""


class ModelBlock(Config):
    """The architecture, without the vocabulary and the head."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Dropout of embeddings and residual branches."""
    attention_dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Dropout of attention weights; default: `dropout`."""
    embedding: EmbeddingConfig = EmbeddingConfig()
    encoder: AnyEncoder
    target_embedding: TargetEmbeddingConfig | None = None
    """The decoder's embedding; default: as `embedding`, with the same word vectors."""
    decoder: AnyDecoder | None = None
    """Attends to the encoder's output; for objectives with a source and a target."""
    init: InitBlock = InitBlock()

    @model_validator(mode="after")
    def _check_decoder(self) -> ModelBlock:
        if self.decoder is None:
            if self.target_embedding is not None:
                raise ValueError(
                    "target_embedding needs a decoder. Set decoder or remove target_embedding."
                )
            return self
        source, target_size = self.encoder.hidden_size, self.decoder.hidden_size
        if source != target_size:
            raise ValueError(
                f"decoder.hidden_size = {target_size} differs from encoder.hidden_size = "
                f"{source}. Make them equal."
            )
        target = self.decoder_embedding
        if target.shared and target.size not in (self.embedding.size, None):
            raise ValueError(
                f"target_embedding.size = {target.size} differs from embedding.size = "
                f"{self.embedding.size}, but the two share their word vectors. Remove "
                "target_embedding.size or set target_embedding.shared: false."
            )
        if target.shared and target.rows not in (self.embedding.rows, None):
            raise ValueError(
                f"target_embedding.rows = {target.rows} differs from embedding.rows = "
                f"{self.embedding.rows}, but the two share their word vectors. Remove "
                "target_embedding.rows or set target_embedding.shared: false."
            )
        return self

    @property
    def decoder_embedding(self) -> TargetEmbeddingConfig:
        """`target_embedding`, or its default."""
        if self.target_embedding is not None:
            return self.target_embedding
        given = {name: getattr(self.embedding, name) for name in self.embedding.model_fields_set}
        return TargetEmbeddingConfig(**given)

    def shape(self, vocabulary_size: int) -> ModelShape:
        """The sizes that embedding, encoder and head have in common.

        Raises UserError if the vocabulary has more tokens than the word embedding has rows.
        """
        return self._shape(vocabulary_size, self.embedding, self.encoder)

    def target_shape(self, vocabulary_size: int) -> ModelShape:
        """The sizes that the decoder, its embedding and the head have in common.

        Raises UserError if the vocabulary has more tokens than the word embedding has rows.
        """
        assert self.decoder is not None, "there is no decoder"
        target = self.decoder_embedding
        shape = self._shape(vocabulary_size, target, self.decoder)
        if target.shared:
            source_shape = self.shape(vocabulary_size)
            return replace(
                shape,
                vocabulary_size=source_shape.vocabulary_size,
                embedding_size=source_shape.embedding_size,
            )
        return replace(shape, word_key=f"target_{WORD_KEY}")

    def _shape(
        self, vocabulary_size: int, embedding: EmbeddingConfig, stack: Encoder | Decoder
    ) -> ModelShape:
        attention_dropout, rows = self.attention_dropout, embedding.rows
        if rows is not None and rows < vocabulary_size:
            key = "embedding" if embedding is self.embedding else "target_embedding"
            raise UserError(
                f"model.{key}.rows = {rows}, but the vocabulary has {vocabulary_size} tokens. Set "
                f"{vocabulary_size} or more, or remove the key."
            )
        return ModelShape(
            vocabulary_size=rows or vocabulary_size,
            embedding_size=embedding.size or stack.hidden_size,
            hidden_size=stack.hidden_size,
            positions=embedding.positions,
            dropout=self.dropout,
            attention_dropout=self.dropout if attention_dropout is None else attention_dropout,
            activation=stack.activation,
            norm_epsilon=stack.norm_epsilon,
            norm=stack.norm,
            bias=stack.bias,
        )
