"""The sizes and kinds that several parts of one model share: plain data, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Activation = Literal["gelu", "gelu_tanh", "relu", "silu", "tanh"]
ACTIVATIONS: tuple[str, ...] = get_args(Activation)
NormKind = Literal["layer", "rms"]
"""`rms`: Zhang and Sennrich 2019, as T5 and LLaMA have it; it never has a bias."""
Visibility = Literal["full", "causal", "prefix"]
"""`prefix`: causal, but that all of an example sees its first text whole (Dong et al. 2019)."""
SinusoidalOrder = Literal["halves", "interleaved", "uer"]

PREFIX_SEGMENT = 1
"""The segment of what comes before the target."""
WORD = "word"
"""What recipes call the word embedding."""
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


@dataclass(frozen=True)
class HeadShape:
    """The heads of an attention."""

    hidden_size: int
    heads: int
    key_value_heads: int
    """Fewer than `heads`: groups of query heads share a key and a value (Ainslie et al. 2023)."""
    head_size: int
    bias: bool = True
    scaled: bool = True
    """Whether scores are divided by the root of a head's size."""

    @property
    def query_width(self) -> int:
        """Width of all queries together."""
        return self.heads * self.head_size

    @property
    def key_width(self) -> int:
        """Width of all keys together, and of all values."""
        return self.key_value_heads * self.head_size

    @property
    def scale(self) -> float:
        """What scores are multiplied by."""
        return self.head_size**-0.5 if self.scaled else 1.0
