"""Sinusoidal positions follow Vaswani et al. 2017, by default with the sines first."""

from __future__ import annotations

import math

import pytest
import torch

from ptm.nn.positions import SinusoidalPositions


@pytest.mark.parametrize("width", [8, 64, 768])
def test_every_value_follows_the_formula_of_the_paper(width: int) -> None:
    positions = torch.tensor([[0, 1, 2, 17, 511]])
    found = SinusoidalPositions(width)(positions)[0]
    for row, position in enumerate(positions[0].tolist()):
        for i in range(width // 2):
            angle = position / 10000 ** (2 * i / width)
            assert float(found[row, i]) == pytest.approx(math.sin(angle), abs=1e-6)
            assert float(found[row, width // 2 + i]) == pytest.approx(math.cos(angle), abs=1e-6)


def test_positions_are_taken_from_the_position_ids() -> None:
    layer = SinusoidalPositions(16)
    packed = layer(torch.tensor([[0, 1, 2, 0, 1]]))[0]
    assert torch.equal(packed[:2], packed[3:])


def test_positions_have_no_upper_limit() -> None:
    far = SinusoidalPositions(32)(torch.tensor([[100_000]]))
    assert far.isfinite().all()
    assert float(far.abs().max()) <= 1.0


def test_all_positions_differ() -> None:
    table = SinusoidalPositions(64)(torch.arange(2048)[None])[0]
    apart = torch.cdist(table, table) + 9 * torch.eye(len(table))
    assert float(apart.min()) > 0.05


def test_an_odd_width_has_one_more_sine_than_cosines() -> None:
    places = torch.arange(5)[None]
    found = SinusoidalPositions(7)(places)
    for i in range(7):
        wave = math.sin if i < 4 else math.cos
        for position in range(5):
            angle = position / 10000 ** (2 * (i % 4) / 7)
            assert float(found[0, position, i]) == pytest.approx(wave(angle), abs=1e-6)
    turns = SinusoidalPositions(7, order="interleaved")(places)
    assert torch.equal(turns[..., 0::2], found[..., :4])
    assert torch.equal(turns[..., 1::2], found[..., 4:])


def test_the_order_of_uer_pads_an_odd_width_with_a_zero() -> None:
    found = SinusoidalPositions(7, order="uer")(torch.arange(4)[None])
    assert found.shape == (1, 4, 7)
    assert not found[..., -1].any()


def test_there_are_no_parameters_or_buffers() -> None:
    assert not list(SinusoidalPositions(8).parameters())
    assert not list(SinusoidalPositions(8).buffers())


def test_interleaved_order_alternates_sines_and_cosines() -> None:
    places = torch.arange(5)[None]
    halves = SinusoidalPositions(8)(places)
    turns = SinusoidalPositions(8, order="interleaved")(places)
    assert torch.equal(turns[..., 0::2], halves[..., :4])
    assert torch.equal(turns[..., 1::2], halves[..., 4:])


def test_uer_order_counts_from_two_and_includes_the_longest_wavelength() -> None:
    """UER-py's formula: frequencies exp(-i log(10000) / (half - 1)), positions plus two."""
    found = SinusoidalPositions(16, order="uer")(torch.tensor([[0, 3, 300]]))[0]
    for row, position in enumerate((2, 5, 302)):
        for i in range(8):
            angle = position * math.exp(-i * math.log(10000) / 7)
            assert float(found[row, 2 * i]) == pytest.approx(math.sin(angle), abs=1e-6)
            assert float(found[row, 2 * i + 1]) == pytest.approx(math.cos(angle), abs=1e-6)
