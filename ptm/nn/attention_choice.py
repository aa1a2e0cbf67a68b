"""Choice of the implementation of attention in the layers of a model that is trained."""

from __future__ import annotations

from typing import Literal

from torch import nn

from ptm.nn.attention import CrossAttention, ResidualAttention, SelfAttention
from ptm.nn.flex_attention import use_flex_attention
from ptm.nn.packed_examples import PackedExamples
from ptm.nn.varlen_attention import VarlenFunction, flash_varlen, use_varlen_attention

Implementation = Literal["sdpa", "varlen", "flex"]


def prepare_attention(
    model: nn.Module,
    implementation: Implementation,
    *,
    recompute: bool = False,
    varlen: VarlenFunction | None = None,
) -> PackedExamples:
    """Let the attention layers of `model` use `implementation` and share masks and offsets.

    The caller sets `shape` of the result before each step. `recompute`: whether blocks use
    activation checkpointing. `varlen`: the kernel of `varlen`, by default FlashAttention.
    """
    packed = PackedExamples(shares_biases=not recompute)
    for module in model.modules():
        if isinstance(module, SelfAttention | CrossAttention | ResidualAttention):
            module.packed = packed
    if implementation == "flex":
        use_flex_attention(model)
    elif implementation == "varlen":
        use_varlen_attention(model, packed, varlen or flash_varlen)
    return packed
