"""Self-attention is softmax over scaled products, within examples and within its pattern."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ptm.nn.attention import SelfAttention
from ptm.nn.attention_mask import AttentionPattern, same_example
from ptm.nn.model_shape import HeadShape, Visibility

WIDTH, HEADS = 24, 3
SHAPE = HeadShape(WIDTH, HEADS, HEADS, WIDTH // HEADS)
FULL = AttentionPattern()


@pytest.fixture
def layer() -> SelfAttention:
    torch.manual_seed(0)
    layer = SelfAttention(SHAPE, dropout=0.0, pattern=FULL).double().eval()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(0.0, 0.5)
    return layer


def by_hand(layer: SelfAttention, hidden: Tensor) -> Tensor:
    """The expected output for one example (T, D), computed head by head."""
    query, key, value = (hidden @ layer.qkv.weight.T + layer.qkv.bias).chunk(3, dim=-1)
    size = WIDTH // HEADS
    mixed = []
    for head in range(HEADS):
        here = slice(head * size, (head + 1) * size)
        scores = query[:, here] @ key[:, here].T / size**0.5
        mixed.append(scores.softmax(dim=-1) @ value[:, here])
    return torch.cat(mixed, dim=-1) @ layer.output.weight.T + layer.output.bias


def test_one_example_equals_attention_written_out(layer: SelfAttention) -> None:
    hidden = torch.randn(7, WIDTH, dtype=torch.float64)
    with torch.no_grad():
        found = layer(hidden[None], torch.ones(1, 7, dtype=torch.int64))[0]
        torch.testing.assert_close(found, by_hand(layer, hidden), rtol=1e-12, atol=1e-12)


def test_each_packed_example_is_attended_as_alone(layer: SelfAttention) -> None:
    hidden = torch.randn(1, 9, WIDTH, dtype=torch.float64)
    example_ids = torch.tensor([[1, 1, 1, 2, 2, 2, 2, 0, 0]])
    with torch.no_grad():
        found = layer(hidden, example_ids)[0]
        for part in (slice(0, 3), slice(3, 7)):
            alone = by_hand(layer, hidden[0, part])
            torch.testing.assert_close(found[part], alone, rtol=1e-12, atol=1e-12)
    assert found.isfinite().all(), "padding too"


def test_a_row_does_not_attend_to_other_rows(layer: SelfAttention) -> None:
    hidden = torch.randn(2, 5, WIDTH, dtype=torch.float64)
    ones = torch.ones(2, 5, dtype=torch.int64)
    with torch.no_grad():
        both = layer(hidden, ones)
        torch.testing.assert_close(both[:1], layer(hidden[:1], ones[:1]), rtol=1e-12, atol=1e-12)


def test_a_row_of_only_padding_is_finite(layer: SelfAttention) -> None:
    found = layer(torch.randn(1, 4, WIDTH).double(), torch.zeros(1, 4, dtype=torch.int64))
    assert found.isfinite().all()


def test_the_mask_is_true_within_examples_and_within_padding() -> None:
    ids = torch.tensor([[1, 1, 2, 0]])
    mask = same_example(ids, ids)
    assert mask.shape == (1, 1, 4, 4)
    assert mask[0, 0].int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


def test_attention_dropout_applies_only_in_training() -> None:
    torch.manual_seed(0)
    layer = SelfAttention(SHAPE, dropout=0.5, pattern=FULL)
    hidden, ones = torch.randn(1, 16, WIDTH), torch.ones(1, 16, dtype=torch.int64)
    layer.eval()
    assert torch.equal(layer(hidden, ones), layer(hidden, ones))
    layer.train()
    assert not torch.equal(layer(hidden, ones), layer(hidden, ones))


def test_a_window_has_half_its_tokens_on_either_side() -> None:
    ones = torch.ones(1, 5, dtype=torch.int64)
    mask = AttentionPattern(window=2).mask(ones, ones, None)[0, 0]
    assert mask.int().tolist() == [
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [0, 1, 1, 1, 0],
        [0, 0, 1, 1, 1],
        [0, 0, 0, 1, 1],
    ]


def test_a_window_ends_with_its_example() -> None:
    ids = torch.tensor([[1, 1, 2, 2, 0]])
    mask = AttentionPattern(window=2).mask(ids, ids, None)[0, 0]
    assert mask.int().tolist() == [
        [1, 1, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 0, 1, 1, 0],
        [0, 0, 1, 1, 0],
        [0, 0, 0, 0, 1],
    ]


def test_a_token_affects_only_outputs_within_the_window() -> None:
    torch.manual_seed(0)
    layer = SelfAttention(SHAPE, dropout=0.0, pattern=AttentionPattern(window=4)).eval()
    hidden, ones = torch.randn(1, 9, WIDTH), torch.ones(1, 9, dtype=torch.int64)
    changed = hidden.clone()
    changed[0, 4] += 1.0
    moved = (layer(hidden, ones) - layer(changed, ones))[0].abs().amax(dim=-1) > 0
    assert moved.tolist() == [2 <= place <= 6 for place in range(9)]


def test_unscaled_attention_equals_scaled_attention_with_larger_queries(
    layer: SelfAttention,
) -> None:
    unscaled = SelfAttention(replace(SHAPE, scaled=False), dropout=0.0, pattern=FULL).double()
    unscaled.load_state_dict(layer.state_dict())
    hidden, ones = torch.randn(1, 7, WIDTH).double(), torch.ones(1, 7, dtype=torch.int64)
    with torch.no_grad():
        for part in (unscaled.qkv.weight, unscaled.qkv.bias):
            part[:WIDTH] /= (WIDTH // HEADS) ** 0.5
        torch.testing.assert_close(unscaled(hidden, ones), layer(hidden, ones))


def test_bias_false_removes_all_biases() -> None:
    layer = SelfAttention(replace(SHAPE, bias=False), dropout=0.0, pattern=FULL)
    assert [name for name, _ in layer.named_parameters()] == ["qkv.weight", "output.weight"]


def test_a_causal_mask_allows_earlier_tokens_of_the_example() -> None:
    ids = torch.tensor([[1, 1, 2, 2, 0]])
    mask = AttentionPattern("causal").mask(ids, ids, None)[0, 0]
    assert mask.int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 1, 1, 0],
        [0, 0, 0, 0, 1],
    ]


def test_a_prefix_mask_allows_the_whole_prefix_and_earlier_tokens() -> None:
    ids = torch.tensor([[1, 1, 1, 1, 2, 2]])
    segments = torch.tensor([[1, 1, 2, 2, 1, 2]])
    mask = AttentionPattern("prefix").mask(ids, ids, segments)[0, 0]
    assert mask.int().tolist() == [
        [1, 1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 1, 1],
    ]


@pytest.mark.parametrize("visibility", ["causal", "prefix"])
def test_a_causal_window_looks_back_only(visibility: Visibility) -> None:
    ones = torch.ones(1, 4, dtype=torch.int64)
    mask = AttentionPattern(visibility, window=2).mask(ones, ones, 2 * ones)[0, 0]
    assert mask.int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]


def test_queries_are_the_last_of_the_keys() -> None:
    ones = torch.ones(1, 5, dtype=torch.int64)
    whole = AttentionPattern("causal").mask(ones, ones, None)
    assert torch.equal(AttentionPattern("causal").mask(ones[:, 3:], ones, None), whole[:, :, 3:])


def test_query_heads_in_a_group_share_keys_and_values() -> None:
    """Grouped-query attention equals multi-head attention with repeated keys and values."""
    torch.manual_seed(0)
    heads, groups, size = 4, 2, 6
    grouped = SelfAttention(HeadShape(24, heads, groups, size), dropout=0.0, pattern=FULL).eval()
    whole = SelfAttention(HeadShape(24, heads, heads, size), dropout=0.0, pattern=FULL).eval()
    with torch.no_grad():
        for name in ("weight", "bias"):
            query, key, value = getattr(grouped.qkv, name).split([24, 12, 12])
            repeated = [
                part.unflatten(0, (groups, size)).repeat_interleave(2, dim=0).flatten(0, 1)
                for part in (key, value)
            ]
            getattr(whole.qkv, name).copy_(torch.cat((query, *repeated)))
        whole.output.load_state_dict(grouped.output.state_dict())
        hidden, ones = torch.randn(2, 7, 24), torch.ones(2, 7, dtype=torch.int64)
        torch.testing.assert_close(grouped(hidden, ones), whole(hidden, ones))


def test_the_head_size_may_differ_from_width_divided_by_heads() -> None:
    layer = SelfAttention(HeadShape(24, 3, 3, 16), dropout=0.0, pattern=FULL)
    assert layer.qkv.weight.shape == (3 * 48, 24)
    assert layer(torch.randn(1, 4, 24), torch.ones(1, 4, dtype=torch.int64)).shape == (1, 4, 24)
