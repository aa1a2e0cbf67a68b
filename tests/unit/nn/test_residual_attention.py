"""RealFormer: the scores of each layer are the sum of its own and those of all earlier layers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ptm.model.plain_model import PlainModel
from ptm.nn.attention import ResidualAttention, SelfAttention
from ptm.nn.attention_mask import AttentionPattern
from ptm.nn.model_shape import HeadShape
from tests.support.small_models import MakeModel, block_of, logits_of, plan_of, rows_of

LAYERS, WIDTH, HEADS = 3, 32, 2
SHAPE = HeadShape(WIDTH, HEADS, HEADS, WIDTH // HEADS)
EXAMPLES = [[2, 7, 8, 9, 3], [2, 11, 3], [2, 30, 31, 32, 33, 34, 3], [2, 40, 41, 3]]


def plain_realformer(weights: dict[str, Tensor], ids: list[int]) -> Tensor:
    """The logits (T, V) of one example from the equations of the paper's figure 1 (b)."""

    def linear(name: str, x: Tensor) -> Tensor:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(name: str, x: Tensor) -> Tensor:
        mean, spread = x.mean(-1, keepdim=True), x.var(-1, unbiased=False, keepdim=True)
        scaled = (x - mean) / torch.sqrt(spread + 1e-12)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    x = weights["word_embedding.weight"][ids]
    x = x + weights["embedding.position.weight"][: len(ids)]
    x = norm("embedding.norm", x + weights["embedding.segment.weight"][1])
    size = WIDTH // HEADS
    before = torch.zeros(HEADS, len(ids), len(ids))
    for layer in (f"encoder_{index:02}" for index in range(LAYERS)):
        query, key, value = linear(f"{layer}.attention.qkv", x).split(WIDTH, dim=-1)
        mixed = torch.zeros_like(x)
        for head in range(HEADS):
            here = slice(head * size, (head + 1) * size)
            before[head] += query[:, here] @ key[:, here].T / math.sqrt(size)
            mixed[:, here] = torch.softmax(before[head], dim=-1) @ value[:, here]
        x = norm(f"{layer}.attention_norm", x + linear(f"{layer}.attention.output", mixed))
        wide = F.gelu(linear(f"{layer}.feed_forward.up", x))
        x = norm(f"{layer}.feed_forward_norm", x + linear(f"{layer}.feed_forward.down", wide))
    x = norm("mlm_transform.norm", F.gelu(linear("mlm_transform.dense", x)))
    return x @ weights["word_embedding.weight"].T + weights["mlm_bias.bias"]


@pytest.fixture
def model(make_model: MakeModel) -> PlainModel:
    return make_model(block_of(layers=LAYERS, residual_attention=True))


def weights_of(model: PlainModel) -> dict[str, Tensor]:
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def test_a_model_follows_the_equations_of_the_paper_alone_and_packed(model: PlainModel) -> None:
    expected = torch.cat([plain_realformer(weights_of(model), ids) for ids in EXAMPLES])
    for rows in ([EXAMPLES], [EXAMPLES[:2], EXAMPLES[2:]], [[ids] for ids in EXAMPLES]):
        found = logits_of(model, rows_of(rows, columns=24))
        largest = expected.abs().max()
        assert (found - expected).abs().max() <= 5e-6 * largest


def test_the_scores_of_the_previous_layer_change_the_logits(
    model: PlainModel, make_model: MakeModel
) -> None:
    other = make_model(block_of(layers=LAYERS))
    other.load_state_dict(model.state_dict())
    rows = rows_of([EXAMPLES], columns=24)
    assert not torch.allclose(logits_of(model, rows), logits_of(other, rows), atol=1e-2)


def test_a_single_layer_equals_plain_self_attention() -> None:
    torch.manual_seed(0)
    ours, plain = (
        kind(SHAPE, dropout=0.0, pattern=AttentionPattern(window=4)).eval()
        for kind in (ResidualAttention, SelfAttention)
    )
    plain.load_state_dict(ours.state_dict())
    hidden, ids = torch.randn(2, 9, WIDTH), torch.tensor([[1] * 4 + [2] * 5, [1] * 7 + [0] * 2])
    attended, scores = ours(hidden, ids)
    torch.testing.assert_close(attended, plain(hidden, ids), rtol=1e-5, atol=1e-6)
    assert scores.shape == (2, HEADS, 9, 9)
    assert scores.isfinite().all()


def test_the_last_layer_does_not_write_scores() -> None:
    steps = [s for s in plan_of(block_of(layers=3, residual_attention=True)).operations if s.block]
    assert ["scores" in step.reads for step in steps] == [False, True, True]
    assert ["scores" in step.writes for step in steps] == [True, True, False]
    (only,) = [
        s for s in plan_of(block_of(layers=1, residual_attention=True)).operations if s.block
    ]
    assert only.writes == ("hidden",)


def test_attention_dropout_applies_only_in_training() -> None:
    torch.manual_seed(0)
    layer = ResidualAttention(SHAPE, dropout=0.5, pattern=AttentionPattern())
    hidden, ones = torch.randn(1, 16, WIDTH), torch.ones(1, 16, dtype=torch.int64)
    assert not torch.equal(layer(hidden, ones)[0], layer(hidden, ones)[0])
    layer.eval()
    assert torch.equal(layer(hidden, ones)[0], layer(hidden, ones)[0])
