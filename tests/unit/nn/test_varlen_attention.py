"""Attention over sequences equals masked attention over packed rows, outputs and gradients.

The kernel itself runs on GPUs only. A stand-in with the same arguments takes its place here.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ptm.nn.attention import CrossAttention, SelfAttention
from ptm.nn.attention_choice import prepare_attention
from ptm.nn.attention_mask import AttentionPattern
from ptm.nn.model_shape import HeadShape
from ptm.nn.packed_examples import PackedShape, sequence_offsets
from ptm.nn.varlen_attention import VarlenFunction, flash_operator, flash_varlen
from tests.support.varlen import each_sequence

ENDS = ((5, 9, 16), (16,), (4, 11), ())
"""Ends of the examples of each row of 16; the third and fourth row have padding."""
COLUMNS = 16
SHAPE = PackedShape(examples_per_row=3, longest=16, fills_rows=False)


def ids_of(ends: tuple[tuple[int, ...], ...], columns: int = COLUMNS) -> Tensor:
    ids = torch.zeros(len(ends), columns, dtype=torch.long)
    for row, of_row in enumerate(ends):
        for number, (begin, end) in enumerate(zip((0, *of_row), of_row, strict=False), 1):
            ids[row, begin:end] = number
    return ids


def test_offsets_are_those_of_the_examples_and_the_padding_of_each_row() -> None:
    offsets = sequence_offsets(ids_of(ENDS), examples_per_row=3)
    rows = [
        *(0, 5, 9, 16),
        *(16, 32, 32, 32),
        *(32, 36, 43, 43),
        *(48, 48, 48, 48),
        64,
    ]
    assert offsets.tolist() == rows


def gradients(output: Tensor, real: Tensor, *leaves: Tensor) -> tuple[Tensor, ...]:
    """Gradients of a loss that depends on real tokens alone."""
    torch.manual_seed(1)
    loss = (output * torch.randn_like(output) * real[..., None]).sum()
    return torch.autograd.grad(loss, leaves)


@pytest.mark.parametrize("groups", [4, 2])
@pytest.mark.parametrize(
    "pattern",
    [
        AttentionPattern(),
        AttentionPattern("causal"),
        AttentionPattern(window=6),
        AttentionPattern("causal", 6),
    ],
)
@pytest.mark.parametrize("theta", [None, 10000.0])
def test_self_attention_is_that_of_masked_rows(
    pattern: AttentionPattern, groups: int, theta: float | None
) -> None:
    torch.manual_seed(0)
    layer = SelfAttention(HeadShape(64, 4, groups, 16), dropout=0.1, pattern=pattern, theta=theta)
    layer.eval()
    ids = ids_of(ENDS)
    hidden = torch.randn(len(ENDS), COLUMNS, 64, requires_grad=True)
    positions = torch.arange(COLUMNS).expand(len(ENDS), -1)
    leaves = (hidden, *layer.parameters())
    real = ids > 0
    expected = layer(hidden, ids, position_ids=positions)
    by_mask = gradients(expected, real, *leaves)

    packed = prepare_attention(layer, "varlen", varlen=each_sequence)
    packed.shape = SHAPE
    found = layer(hidden, ids, position_ids=positions)
    torch.testing.assert_close(found[real], expected[real], rtol=1e-5, atol=1e-6)
    assert torch.isfinite(found).all()
    for one, other in zip(gradients(found, real, *leaves), by_mask, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_cross_attention_is_that_of_masked_rows() -> None:
    torch.manual_seed(0)
    layer = CrossAttention(HeadShape(64, 4, 4, 16), dropout=0.1).eval()
    ids, memory_ids = ids_of(ENDS), ids_of(((3, 8, 10), (12,), (9, 12), ()), columns=12)
    hidden = torch.randn(len(ENDS), COLUMNS, 64, requires_grad=True)
    memory = torch.randn(len(ENDS), 12, 64, requires_grad=True)
    leaves, real = (hidden, memory, *layer.parameters()), ids > 0
    expected = layer(hidden, ids, memory, memory_ids)
    by_mask = gradients(expected, real, *leaves)

    packed = prepare_attention(layer, "varlen", varlen=each_sequence)
    packed.shape = SHAPE
    found = layer(hidden, ids, memory, memory_ids)
    torch.testing.assert_close(found[real], expected[real], rtol=1e-5, atol=1e-6)
    for one, other in zip(gradients(found, real, *leaves), by_mask, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_an_example_without_source_has_finite_gradients() -> None:
    torch.manual_seed(0)
    layer = CrossAttention(HeadShape(64, 4, 4, 16), dropout=0.0)
    packed = prepare_attention(layer, "varlen", varlen=each_sequence)
    packed.shape = SHAPE
    hidden = torch.randn(1, COLUMNS, 64)
    output = layer(hidden, ids_of(((5, 9, 16),)), torch.randn(1, 12, 64), ids_of(((12,),), 12))
    for gradient in torch.autograd.grad(output.sum(), list(layer.parameters())):
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("visibility", ["full", "causal"])
def test_rows_of_one_example_need_no_mask(visibility: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    pattern = AttentionPattern("causal" if visibility == "causal" else "full")
    layer = SelfAttention(HeadShape(64, 4, 4, 16), dropout=0.0, pattern=pattern)
    hidden, ids = torch.randn(2, COLUMNS, 64), ids_of(((COLUMNS,), (COLUMNS,)))
    expected = layer(hidden, ids)
    packed = prepare_attention(layer, "sdpa")
    packed.shape = PackedShape(1, COLUMNS, fills_rows=True)
    masks: list[object] = []
    attend = F.scaled_dot_product_attention

    def noted(*arguments: Tensor, **options: object) -> Tensor:
        masks.append(options["attn_mask"])
        return attend(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(F, "scaled_dot_product_attention", noted)
    torch.testing.assert_close(layer(hidden, ids), expected, rtol=1e-5, atol=1e-6)
    assert masks == [None]


def test_a_mask_is_computed_once_for_all_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    pattern = AttentionPattern("causal")
    layers = torch.nn.ModuleList(
        SelfAttention(HeadShape(64, 4, 4, 16), dropout=0.0, pattern=pattern) for _ in range(3)
    )
    packed = prepare_attention(layers, "sdpa")
    packed.shape = SHAPE
    computed: list[int] = []
    mask = AttentionPattern.mask

    def counted(self: AttentionPattern, *arguments: Tensor | None) -> Tensor:
        computed.append(1)
        return mask(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(AttentionPattern, "mask", counted)
    for ids in (ids_of(ENDS), ids_of(ENDS[::-1])):
        for layer in layers:
            layer(torch.randn(len(ENDS), COLUMNS, 64), ids)
    assert len(computed) == 2


@pytest.mark.parametrize("kernel", [flash_varlen, flash_operator])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("window", [(-1, -1), (-1, 0), (64, 64), (64, 0)])
def test_the_kernel_accepts_these_arguments(
    kernel: VarlenFunction, dropout: float, window: tuple[int, int]
) -> None:
    """On the meta device, which checks shapes and types of torch's operators."""
    with torch.device("meta"):
        query = torch.empty(64, 4, 16, dtype=torch.bfloat16, requires_grad=True)
        key, value = (torch.empty(64, 4, 16, dtype=torch.bfloat16) for _ in range(2))
        offsets = torch.empty(17, dtype=torch.int32)
    output = kernel(
        query, key, value, offsets, offsets, 16, window=window, dropout=dropout, scale=0.25
    )
    assert (output.shape, output.requires_grad) == (query.shape, True)
    (gradient,) = torch.autograd.grad(output.sum(), [query])
    assert gradient.shape == query.shape
