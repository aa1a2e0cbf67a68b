"""Sinusoidal positions are those of Vaswani et al. 2017, sines first."""

from __future__ import annotations

import math

import pytest
import torch

from ptm.embeddings.sinusoidal import SinusoidalPositions


@pytest.mark.parametrize("width", [8, 64, 768])
def test_every_value_is_the_papers_formula(width: int) -> None:
    positions = torch.tensor([[0, 1, 2, 17, 511]])
    found = SinusoidalPositions(width, interleaved=False)(positions)[0]
    for row, position in enumerate(positions[0].tolist()):
        for i in range(width // 2):
            angle = position / 10000 ** (2 * i / width)
            assert float(found[row, i]) == pytest.approx(math.sin(angle), abs=1e-4)
            assert float(found[row, width // 2 + i]) == pytest.approx(math.cos(angle), abs=1e-4)


def test_positions_are_read_from_the_ids_not_from_the_place() -> None:
    layer = SinusoidalPositions(16, interleaved=False)
    packed = layer(torch.tensor([[0, 1, 2, 0, 1]]))[0]
    assert torch.equal(packed[:2], packed[3:])


def test_there_is_no_longest_position() -> None:
    far = SinusoidalPositions(32, interleaved=False)(torch.tensor([[100_000]]))
    assert far.isfinite().all()
    assert float(far.abs().max()) <= 1.0


def test_every_position_is_another() -> None:
    table = SinusoidalPositions(64, interleaved=False)(torch.arange(2048)[None])[0]
    apart = torch.cdist(table, table) + 9 * torch.eye(len(table))
    assert float(apart.min()) > 0.05


def test_an_odd_width_is_filled_with_a_zero() -> None:
    found = SinusoidalPositions(7, interleaved=False)(torch.arange(4)[None])
    assert found.shape == (1, 4, 7)
    assert not found[..., -1].any()


def test_nothing_is_learnt() -> None:
    assert not list(SinusoidalPositions(8, interleaved=False).parameters())
    assert not list(SinusoidalPositions(8, interleaved=False).buffers())


def test_sines_and_cosines_may_take_turns() -> None:
    places = torch.arange(5)[None]
    halves = SinusoidalPositions(8, interleaved=False)(places)
    turns = SinusoidalPositions(8, interleaved=True)(places)
    assert torch.equal(turns[..., 0::2], halves[..., :4])
    assert torch.equal(turns[..., 1::2], halves[..., 4:])
