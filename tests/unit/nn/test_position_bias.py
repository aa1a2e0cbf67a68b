"""Relative position biases have T5's buckets and depend on distances in the row."""

from __future__ import annotations

import pytest
import torch
from transformers.models.t5.modeling_t5 import T5Attention

from ptm.nn.positions import RelativePositionBias, relative_buckets


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("buckets", "furthest"), [(32, 128), (8, 20), (16, 64)])
def test_buckets_equal_those_of_transformers(
    bidirectional: bool, buckets: int, furthest: int
) -> None:
    relative = torch.arange(-600, 601)[None]
    found = relative_buckets(
        relative, buckets=buckets, max_distance=furthest, bidirectional=bidirectional
    )
    theirs = T5Attention._relative_position_bucket(  # noqa: SLF001 (it has no public name)
        relative, bidirectional, buckets, furthest
    )
    assert torch.equal(found, theirs)


def bias_of(*, bidirectional: bool) -> RelativePositionBias:
    torch.manual_seed(0)
    bias = RelativePositionBias(2, buckets=8, max_distance=20, bidirectional=bidirectional)
    torch.nn.init.normal_(bias.weight)
    return bias


def test_the_bias_depends_on_the_distance_only() -> None:
    found = bias_of(bidirectional=True)(torch.ones(3, 6))
    assert found.shape == (1, 2, 6, 6)
    assert torch.equal(found[..., :3, :3], found[..., 3:, 3:])
    assert not torch.equal(found, found.transpose(-1, -2)), "before and after differ"


def test_a_causal_bias_treats_later_keys_like_the_same_position() -> None:
    found = bias_of(bidirectional=False)(torch.ones(1, 5))[0, 0]
    assert (found.triu() == found.diagonal()[0]).logical_or(found.triu() == 0).all()
