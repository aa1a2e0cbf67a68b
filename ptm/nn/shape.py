"""The sizes that several parts of one model share."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ptm.nn.norm import NormKind, build_norm

WORD_KEY = "word_embedding"


@dataclass(frozen=True)
class ModelShape:
    """What an embedding, an encoder and a head have to agree on."""

    vocabulary_size: int
    embedding_size: int
    hidden_size: int
    positions: int
    """Rows of a learnt position table; sinusoidal and rotary positions have no limit."""
    dropout: float
    attention_dropout: float
    activation: str
    norm_epsilon: float
    norm_kind: NormKind = "layer"
    bias: bool = True
    """Whether linear layers and norms have biases."""
    word_key: str = WORD_KEY
    """The tie of the word embedding: every step with it calls the one module."""

    def norm(self, width: int) -> nn.Module:
        """The model's kind of norm over the last axis (…, width)."""
        return build_norm(self.norm_kind, width, epsilon=self.norm_epsilon, bias=self.bias)
