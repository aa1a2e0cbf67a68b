"""The key `head` of objectives that predict labels: what comes between the encoder and them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import model_validator

from ptm.component import Config
from ptm.nn.model_shape import Activation


class ClassifierHead(Config):
    """Options of the layers between the vector of an example and the outputs.

    The defaults are the head of BERT, RoBERTa, BART and T5: dense, tanh, dropout, dense. DistilBERT
    has `activation: relu`; ModernBERT `activation: gelu`, `norm: true` and `dense_bias: false`;
    GPT-2 and LLaMA `dense: false` and `bias: false`.
    """

    dense: bool = True
    """Whether a dense layer of the hidden size and an activation come before the output layer."""
    activation: Activation = "tanh"
    """The activation after that dense layer."""
    norm: bool = False
    """Whether a norm of the encoder's kind follows the activation."""
    dense_bias: bool = True
    """Whether that dense layer has a bias."""
    bias: bool = True
    """Whether the output layer has a bias."""

    @model_validator(mode="after")
    def _check_norm(self) -> Self:
        if self.norm and not self.dense:
            raise ValueError("norm = true needs the dense layer before it. Set dense: true")
        return self

    @property
    def transform(self) -> dict[str, Any]:
        """The arguments of `ptm.nn.example_pooling.DenseTransform`."""
        return {
            "dense": self.dense,
            "activation": self.activation,
            "norm": self.norm,
            "bias": self.dense_bias,
        }

    @property
    def effective(self) -> Mapping[str, Any]:
        """The options that have an effect, by key."""
        options = dict(self)
        if not self.dense:
            del options["activation"], options["norm"], options["dense_bias"]
        return options


class TokenHead(ClassifierHead):
    """Options of the layers between the vector of a token and the outputs.

    The defaults are the head of all families but ModernBERT, which has `dense: true`,
    `activation: gelu`, `norm: true` and `dense_bias: false`.
    """

    dense: bool = False
    """Whether a dense layer of the hidden size and an activation come before the output layer."""
