"""The sizes and options that several parts of a model share: plain data, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Activation = Literal["gelu", "gelu_tanh", "relu", "silu", "tanh"]
ACTIVATIONS: tuple[str, ...] = get_args(Activation)
NormKind = Literal["layer", "rms"]
"""`rms` (Zhang and Sennrich 2019) is used by T5 and LLaMA and never has a bias."""
Visibility = Literal["full", "causal", "prefix"]
"""`prefix`: causal, except that all tokens of an example attend to its whole first text (Dong et
al. 2019)."""
Cell = Literal["rnn_tanh", "rnn_relu", "lstm", "gru"]
"""The kinds of recurrent cells."""
Pooling = Literal["first", "mean", "max", "last"]
"""How the vectors of an example's tokens become one vector."""
SinusoidalOrder = Literal["halves", "interleaved", "uer"]

PADDING, ANCHOR, POSITIVE, NEGATIVE = range(4)
"""Roles of the texts in a batch of embeddings. The positive of an anchor is the next text."""
PREFIX_SEGMENT = 1
"""Segment id of the prefix, the text before the target."""
WORD = "word"
"""The recipes' name of the word embedding."""
WORD_KEY = "word_embedding"
"""The prefix of the word embedding's canonical parameter name."""


@dataclass(frozen=True)
class ModelShape:
    """The sizes and options that embedding, encoder or decoder, and head have in common."""

    vocabulary_size: int
    """Rows of the word embedding and of the output layer: at least one per token."""
    embedding_size: int
    hidden_size: int
    positions: int
    """Rows of a learned position table; sinusoidal and rotary positions have no limit."""
    dropout: float
    attention_dropout: float
    activation: str
    norm_epsilon: float
    norm: NormKind = "layer"
    bias: bool = True
    """Whether linear layers and norms have biases."""
    word_key: str = WORD_KEY
    """The tie of the word embedding: all operations with this tie call one module."""


@dataclass(frozen=True)
class HeadShape:
    """Number and sizes of the heads of an attention module."""

    hidden_size: int
    heads: int
    key_value_heads: int
    """If fewer than `heads`, groups of query heads share one of them (Ainslie et al. 2023)."""
    head_size: int
    bias: bool = True
    scaled: bool = True
    """Whether attention scores are divided by the square root of the head size."""

    @property
    def query_width(self) -> int:
        """Total width of all query heads."""
        return self.heads * self.head_size

    @property
    def key_width(self) -> int:
        """Total width of all key heads, and of all value heads."""
        return self.key_value_heads * self.head_size

    @property
    def scale(self) -> float:
        """The factor of the attention scores."""
        return self.head_size**-0.5 if self.scaled else 1.0
