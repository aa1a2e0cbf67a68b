"""Examples of packed rows, in windows of sequences of similar length."""

from __future__ import annotations

import torch

from ptm.nn.sequence_windows import SequenceWindows

IDS = torch.tensor([[1, 1, 1, 1, 1, 2, 2], [1, 1, 2, 3, 3, 3, 0], [0, 0, 0, 0, 0, 0, 0]])


def test_every_token_of_an_example_has_one_place_and_padding_has_none() -> None:
    found = SequenceWindows.of(IDS)
    assert sorted(found.tokens.tolist()) == IDS.flatten().nonzero()[:, 0].tolist()
    steps = torch.cat([window.flatten() for window in found.windows])
    assert torch.equal(steps[found.places], found.tokens)


def test_a_window_has_sequences_of_more_than_half_its_steps() -> None:
    windows = SequenceWindows.of(IDS).windows
    # Lengths 5 and 3; 2 and 2; 1.
    assert [tuple(window.shape) for window in windows] == [(2, 5), (2, 2), (1, 1)]
    assert windows[0].tolist() == [[0, 1, 2, 3, 4], [10, 11, 12, 12, 12]]


def test_rows_of_padding_have_no_window() -> None:
    found = SequenceWindows.of(IDS[2:])
    assert found.windows == ()
    assert found.tokens.numel() == found.places.numel() == 0
