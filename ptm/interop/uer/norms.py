"""How far UER-py's layer norms are from those of a model with another epsilon."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ptm.interop.uer.entries import LAYER_EPSILON
from ptm.recipe.model_block import ModelBlock

if TYPE_CHECKING:
    from torch import Tensor

_ADDED = 1e-6
"""What UER-py adds to the deviation."""
_SAMPLE = 1000
"""Rows of the word embedding whose deviations are measured."""
_NEGLIGIBLE = 3e-6


def norm_note(model: ModelBlock, tensors: Mapping[str, Tensor]) -> str | None:
    """Return a sentence about the first norm of a model, if UER-py computes another value.

    The epsilons matter where values are small, so the deviation of the embeddings is measured. A
    model whose norms do not read them has values near 1.
    """
    encoder = model.encoder
    if encoder.norm != "layer" or encoder.norm_epsilon == LAYER_EPSILON:
        return None
    reads_embedding = model.embedding.layer_norm or encoder.has_attention
    deviation = _deviation(model, tensors) if reads_embedding else 1.0
    if deviation == 0.0:
        return None
    ours = (deviation**2 + encoder.norm_epsilon) ** 0.5
    difference = abs(ours / (deviation + _ADDED) - 1.0)
    if difference < _NEGLIGIBLE:
        return None
    return (
        f"model.encoder.norm_epsilon = {encoder.norm_epsilon:g} is added to the variance, but "
        f"UER-py adds {_ADDED:g} to the deviation. At a deviation of {deviation:.2g}, that of the "
        f"smallest values that a norm of this model reads, the results differ by a factor of "
        f"1 + {difference:.0e}"
    )


def _deviation(model: ModelBlock, tensors: Mapping[str, Tensor]) -> float:
    """Return the median deviation of the embeddings of words in the first position."""
    embedding = model.embedding
    summed = tensors["word_embedding.weight"][:_SAMPLE].float()
    if embedding.scaled:
        summed = summed * summed.shape[1] ** 0.5
    for part, row in (("position", embedding.position_offset), ("segment", 1)):
        table = tensors.get(f"embedding.{part}.weight")
        if table is not None:
            summed = summed + table[row].float()
    return float(summed.std(-1, correction=0).median())
