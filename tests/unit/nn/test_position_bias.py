"""Relative position biases have T5's buckets and depend on distances in the row."""

from __future__ import annotations

from functools import partial
from itertools import accumulate, pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.models.t5.modeling_t5 import T5Attention

from ptm.nn.attention import SelfAttention
from ptm.nn.attention_choice import prepare_attention
from ptm.nn.attention_mask import AttentionPattern
from ptm.nn.model_shape import HeadShape
from ptm.nn.packed_examples import PackedShape
from ptm.nn.positions import RelativePositionBias, distance_matrix, relative_buckets


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


def gathered(bias: RelativePositionBias, length: int) -> Tensor:
    """The bias of every pair of positions, read from the table pair by pair: (1, H, T, T)."""
    place = torch.arange(length)
    bucket = relative_buckets(
        place[None, :] - place[:, None],
        buckets=bias.buckets,
        max_distance=bias.max_distance,
        bidirectional=bias.bidirectional,
    )
    return nn.functional.embedding(bucket, bias.weight).permute(2, 0, 1)[None]


@pytest.mark.parametrize("length", [1, 2, 37])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_the_matrix_of_distances_has_the_bias_of_every_pair(
    bidirectional: bool, length: int
) -> None:
    bias = bias_of(bidirectional=bidirectional)
    found = distance_matrix(bias(torch.ones(3, length)), length)
    expected = gathered(bias, length)
    assert torch.equal(found, expected)
    output_gradient = torch.randn_like(expected)
    one, other = (
        torch.autograd.grad(matrix, bias.weight, output_gradient)[0] for matrix in (found, expected)
    )
    torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6 * float(other.detach().abs().max()))


def test_half_precision_loses_no_gradient_in_the_sum_over_many_pairs() -> None:
    bias, length = bias_of(bidirectional=True), 512
    ids, output_gradient = torch.ones(1, length), torch.rand(1, 2, length, length)
    found, expected = (
        torch.autograd.grad(
            distance_matrix(bias.to(dtype)(ids), length), bias.weight, output_gradient.to(dtype)
        )[0]
        for dtype in (torch.bfloat16, torch.float32)
    )
    torch.testing.assert_close(found.float(), expected, rtol=2**-7, atol=0.0)


def test_the_last_queries_have_the_last_rows_of_the_matrix() -> None:
    biases = torch.randn(2, 2 * 6 - 1)
    whole = distance_matrix(biases, 6)
    # With four of six tokens in a cache, the largest distance is that of the first query.
    assert torch.equal(distance_matrix(biases[:, : 2 + 6 - 1], 2), whole[:, :, 4:])


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("pattern", [AttentionPattern(), AttentionPattern("causal")])
@pytest.mark.parametrize("fills_rows", [False, True])
def test_layers_that_share_a_mask_have_the_gradients_of_layers_of_their_own(
    pattern: AttentionPattern, fills_rows: bool, recompute: bool
) -> None:
    torch.manual_seed(1)
    bias = bias_of(bidirectional=pattern.visibility == "full")
    shape = HeadShape(32, 2, 2, 16)
    layers = nn.ModuleList(SelfAttention(shape, dropout=0.0, pattern=pattern) for _ in range(3))
    hidden, length = torch.randn(2, 24, 32), 24
    of_rows = [24] if fills_rows else [7, 9, 5]
    ids = torch.zeros(2, length, dtype=torch.long)
    for number, (begin, end) in enumerate(pairwise((0, *accumulate(of_rows))), 1):
        ids[:, begin:end] = number
    ids[1] *= ids[1] < 3
    real = ids > 0

    def results(*, alone: bool) -> list[Tensor]:
        biases, state = bias(ids), hidden
        for layer in layers:
            assert isinstance(layer, SelfAttention)
            if alone:
                query, key, value = layer.split(state)
                mask = gathered(bias, length).masked_fill(
                    ~pattern.mask(ids, ids, None), float("-inf")
                )
                mixed = nn.functional.scaled_dot_product_attention(query, key, value, mask)
                state = state + layer.merge(mixed)
            elif recompute:
                call = partial(layer, position_bias=biases)
                state = state + checkpoint(call, state, ids, use_reentrant=False)
            else:
                state = state + layer(state, ids, position_bias=biases)
        state = state[real]
        return [
            state,
            *torch.autograd.grad(state.square().sum(), [bias.weight, *layers.parameters()]),
        ]

    expected = results(alone=True)
    packed = prepare_attention(layers, "sdpa", recompute=recompute)
    packed.shape = PackedShape(len(of_rows), 24, fills_rows=fills_rows)
    for one, other in zip(results(alone=False), expected, strict=True):
        torch.testing.assert_close(
            one, other, rtol=1e-5, atol=1e-6 * float(other.detach().abs().max())
        )


def test_a_mask_with_biases_is_computed_once_for_all_layers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layers = nn.ModuleList(
        SelfAttention(HeadShape(32, 2, 2, 16), dropout=0.0, pattern=AttentionPattern())
        for _ in range(3)
    )
    prepare_attention(layers, "sdpa")
    masks: list[Tensor] = []
    attend = nn.functional.scaled_dot_product_attention

    def noted(*arguments: Tensor, attn_mask: Tensor, **options: object) -> Tensor:
        masks.append(attn_mask)
        return attend(*arguments, attn_mask=attn_mask, **options)  # type: ignore[arg-type, misc]

    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", noted)
    ids, bias = torch.ones(1, 8, dtype=torch.long), bias_of(bidirectional=True)
    for _ in range(2):
        biases = bias(ids)
        for layer in layers:
            layer(torch.randn(1, 8, 32), ids, position_bias=biases)
    assert len({id(mask) for mask in masks}) == 2, "one mask per forward pass"


def test_a_causal_bias_treats_later_keys_like_the_same_position() -> None:
    found = distance_matrix(bias_of(bidirectional=False)(torch.ones(1, 5)), 5)[0, 0]
    assert (found.triu() == found.diagonal()[0]).logical_or(found.triu() == 0).all()
