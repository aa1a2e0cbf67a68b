"""The sizes that several parts of one model share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelShape:
    """What an embedding, an encoder and a head have to agree on."""

    vocabulary_size: int
    embedding_size: int
    hidden_size: int
    positions: int
    """Rows of a learnt position table; sinusoidal positions have no limit of their own."""
    dropout: float
    attention_dropout: float
    activation: str
    norm_epsilon: float
