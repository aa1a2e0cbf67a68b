"""FlexAttention equals scaled dot product attention (forward only: CPUs have no backward)."""

from __future__ import annotations

import pytest
import torch

from ptm.nn.attention import SelfAttention
from ptm.nn.attention_mask import AttentionPattern
from ptm.nn.flex_attention import use_flex_attention
from ptm.nn.model_shape import HeadShape

LENGTH = 128


def packed() -> tuple[torch.Tensor, torch.Tensor]:
    """Example ids and segments of two rows with several examples and padding."""
    ids, segments = torch.zeros(2, LENGTH), torch.zeros(2, LENGTH)
    for row, ends in enumerate([(50, 90, 128), (20, 70, 100)]):
        begin = 0
        for number, end in enumerate(ends, 1):
            ids[row, begin:end] = number
            segments[row, begin:end] = 2
            segments[row, begin : (begin + end) // 2] = 1
            begin = end
    return ids.long(), segments.long()


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("groups", [4, 2])
@pytest.mark.parametrize(
    "pattern",
    [
        AttentionPattern(),
        AttentionPattern("causal"),
        AttentionPattern("prefix"),
        AttentionPattern(window=16),
        AttentionPattern("causal", 8),
    ],
)
def test_flex_attention_equals_scaled_dot_product_attention(
    pattern: AttentionPattern, groups: int, biased: bool
) -> None:
    torch.manual_seed(0)
    shape = HeadShape(64, 4, groups, 16, scaled=not biased)
    layer = SelfAttention(shape, dropout=0.0, pattern=pattern).eval()
    hidden, (ids, segments) = torch.randn(2, LENGTH, 64), packed()
    bias = torch.randn(4, 2 * LENGTH - 1) if biased else None
    extra = {"segment_ids": segments, "position_bias": bias}
    with torch.no_grad():
        expected = layer(hidden, ids, **extra)
        use_flex_attention(layer)
        assert layer.kernel is not None
        found = layer(hidden, ids, **extra)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
