"""The transformer decoder (Vaswani et al. 2017, section 3.1): BART's, or T5's with options."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from ptm.components.decoders.base import Decoder
from ptm.components.transformer_stack import TransformerStack
from ptm.nn.model_shape import ModelShape
from ptm.plan import Operation

if TYPE_CHECKING:
    from torch import nn

_POSITION_BIAS = "decoder_position_bias"


class TransformerDecoder(TransformerStack, Decoder):
    """A stack of layers of causal self-attention, cross-attention and feed-forward."""

    type: Literal["transformer"]

    @property
    def residual_branches(self) -> int:
        return 3 * self.layers

    def residual_outputs(self) -> tuple[str, ...]:
        return (
            "attention.output.weight",
            "cross_attention.output.weight",
            "feed_forward.down.weight",
        )

    def operations(self, shape: ModelShape) -> tuple[Operation, ...]:
        # One operation per layer; a pre-norm stack needs a norm after the last layer.
        extra_inputs = {"position_bias": _POSITION_BIAS} if self.position_bias else {}
        reads = ("hidden", "decoder_example_ids", "memory", "example_ids", *extra_inputs.values())
        build = partial(self._layer, shape, extra_inputs=tuple(extra_inputs))
        return (
            *self.position_bias_operations(
                _POSITION_BIAS, reads="decoder_example_ids", bidirectional=False
            ),
            *(
                Operation(f"decoder_{index:02}", build, reads, ("hidden",), block=True)
                for index in range(self.layers)
            ),
            *self.final_norm("decoder_norm", shape),
        )

    def _layer(self, shape: ModelShape, *, extra_inputs: tuple[str, ...]) -> nn.Module:
        from ptm.nn.attention import CrossAttention, SelfAttention
        from ptm.nn.attention_mask import AttentionPattern
        from ptm.nn.transformer_layer import DecoderLayer

        dropout = shape.attention_dropout
        return DecoderLayer(
            SelfAttention(self.head_shape, dropout=dropout, pattern=AttentionPattern("causal")),
            CrossAttention(self.head_shape, dropout=dropout),
            self.build_feed_forward(),
            shape,
            pre_norm=self.pre_norm,
            extra_inputs=extra_inputs,
        )
