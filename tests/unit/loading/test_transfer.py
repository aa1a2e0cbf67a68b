"""Micro-batches in one buffer have the values and shapes of single tensors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ptm.loading.transfer import FlatTensors, to_device

CPU = torch.device("cpu")


def arrays(largest: int) -> dict[str, np.ndarray]:
    return {
        "input_ids": np.arange(12).reshape(3, 4),
        "predicted_positions": np.array([3, 9]),
        "empty": np.zeros(0, np.int64),
        "example_numbers": np.array([1, largest]),
    }


@pytest.mark.parametrize(("largest", "bits"), [(2**31 - 1, 32), (2**40, 64)])
def test_the_tensors_keep_values_shapes_and_names(largest: int, bits: int) -> None:
    given = arrays(largest)
    flat = FlatTensors(given, pinned=False)
    assert flat.bits == bits
    assert list(flat) == list(given)
    for found in (to_device(flat, CPU), dict(flat)):
        assert found.keys() == given.keys()
        for name, array in given.items():
            assert found[name].dtype == torch.int64
            assert found[name].tolist() == array.tolist()


def test_single_tensors_are_moved_as_they_are() -> None:
    tensors = {name: torch.from_numpy(array) for name, array in arrays(5).items()}
    assert to_device(tensors, CPU) == tensors
