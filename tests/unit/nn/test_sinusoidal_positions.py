"""Sinusoidal positions are those of Vaswani et al. 2017, sines first."""

from __future__ import annotations

import math

import pytest
import torch

from ptm.nn.positions import SinusoidalPositions


@pytest.mark.parametrize("width", [8, 64, 768])
def test_every_value_is_the_papers_formula(width: int) -> None:
    positions = torch.tensor([[0, 1, 2, 17, 511]])
    found = SinusoidalPositions(width)(positions)[0]
    for row, position in enumerate(positions[0].tolist()):
        for i in range(width // 2):
            angle = position / 10000 ** (2 * i / width)
            assert float(found[row, i]) == pytest.approx(math.sin(angle), abs=1e-6)
            assert float(found[row, width // 2 + i]) == pytest.approx(math.cos(angle), abs=1e-6)


def test_positions_are_read_from_the_ids_not_from_the_place() -> None:
    layer = SinusoidalPositions(16)
    packed = layer(torch.tensor([[0, 1, 2, 0, 1]]))[0]
    assert torch.equal(packed[:2], packed[3:])


def test_there_is_no_longest_position() -> None:
    far = SinusoidalPositions(32)(torch.tensor([[100_000]]))
    assert far.isfinite().all()
    assert float(far.abs().max()) <= 1.0


def test_every_position_is_another() -> None:
    table = SinusoidalPositions(64)(torch.arange(2048)[None])[0]
    apart = torch.cdist(table, table) + 9 * torch.eye(len(table))
    assert float(apart.min()) > 0.05


def test_an_odd_width_is_filled_with_a_zero() -> None:
    found = SinusoidalPositions(7)(torch.arange(4)[None])
    assert found.shape == (1, 4, 7)
    assert not found[..., -1].any()


def test_nothing_is_learnt() -> None:
    assert not list(SinusoidalPositions(8).parameters())
    assert not list(SinusoidalPositions(8).buffers())


def test_sines_and_cosines_may_take_turns() -> None:
    places = torch.arange(5)[None]
    halves = SinusoidalPositions(8)(places)
    turns = SinusoidalPositions(8, order="interleaved")(places)
    assert torch.equal(turns[..., 0::2], halves[..., :4])
    assert torch.equal(turns[..., 1::2], halves[..., 4:])


def test_uer_counts_from_two_and_has_the_longest_wavelength_too() -> None:
    """As its embedding computes it: exp(-i log(10000) / (half - 1)) at the place plus two."""
    found = SinusoidalPositions(16, order="uer")(torch.tensor([[0, 3, 300]]))[0]
    for row, position in enumerate((2, 5, 302)):
        for i in range(8):
            angle = position * math.exp(-i * math.log(10000) / 7)
            assert float(found[row, 2 * i]) == pytest.approx(math.sin(angle), abs=1e-6)
            assert float(found[row, 2 * i + 1]) == pytest.approx(math.cos(angle), abs=1e-6)
