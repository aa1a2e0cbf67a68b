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
_NEGLIGIBLE = 2.5e-5


def norm_note(model: ModelBlock, tensors: Mapping[str, Tensor]) -> str | None:
    """Return a sentence about the first norm of a model, if UER-py computes another value.

    Only the norm that reads the embeddings is measured: all others read values near 1, for which
    the epsilons make no difference.
    """
    encoder, embedding = model.encoder, model.embedding
    reads_embedding = embedding.layer_norm or getattr(encoder, "pre_norm", False)
    if encoder.norm != "layer" or not reads_embedding or encoder.norm_epsilon == LAYER_EPSILON:
        return None
    words = tensors["word_embedding.weight"][:_SAMPLE].float()
    if embedding.scaled:
        words = words * words.shape[1] ** 0.5
    summed = words
    for part in ("position", "segment"):
        table = tensors.get(f"embedding.{part}.weight")
        if table is not None:
            row = min(embedding.position_offset if part == "position" else 1, len(table) - 1)
            summed = summed + table[row].float()
    deviation = float(summed.std(-1, correction=0).median())
    if deviation == 0.0:
        return None
    ours = (deviation**2 + encoder.norm_epsilon) ** 0.5
    difference = abs(ours / (deviation + _ADDED) - 1.0)
    if difference < _NEGLIGIBLE:
        return None
    return (
        f"UER-py's norms add {_ADDED:g} to the deviation, this model's "
        f"model.encoder.norm_epsilon = {encoder.norm_epsilon:g} to the variance: for its "
        f"embeddings (deviation {deviation:.2g}) the values differ by {difference:.1g} of "
        "themselves"
    )
