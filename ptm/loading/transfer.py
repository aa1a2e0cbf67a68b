"""Transfer of a micro-batch to the device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_LARGEST = np.iinfo(np.int32).max


class FlatTensors(Mapping[str, Tensor]):
    """Integer tensors in one buffer, which is copied to the device at once.

    The buffer holds 32-bit integers, half of the bytes, unless an entry needs 64. Reading an entry
    gives it as int64, on the host.
    """

    def __init__(self, arrays: Mapping[str, NDArray[np.int64]], *, pinned: bool) -> None:
        """`pinned`: in memory from which a GPU copies while the host continues."""
        size = sum(array.size for array in arrays.values())
        fits = all(array.max(initial=0) <= _LARGEST for array in arrays.values())
        self._shapes = {name: array.shape for name, array in arrays.items()}
        self._buffer = torch.empty(
            size, dtype=torch.int32 if fits else torch.int64, pin_memory=pinned
        )
        at, flat = 0, self._buffer.numpy()
        for array in arrays.values():
            flat[at : at + array.size] = array.ravel()
            at += array.size

    @property
    def bits(self) -> int:
        """Bits of an integer in the buffer."""
        return 8 * self._buffer.element_size()

    def on(self, device: torch.device) -> dict[str, Tensor]:
        """The tensors on the device, as int64."""
        return self._views(self._buffer.to(device, non_blocking=True))

    def _views(self, buffer: Tensor) -> dict[str, Tensor]:
        whole = buffer.long()
        sizes = [int(np.prod(shape)) for shape in self._shapes.values()]
        return {
            name: part.view(shape)
            for (name, shape), part in zip(
                self._shapes.items(), torch.split(whole, sizes), strict=True
            )
        }

    def __getitem__(self, name: str) -> Tensor:
        return self._views(self._buffer)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


def to_device(tensors: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """The tensors of a micro-batch on the device; the host does not wait for the copy."""
    if isinstance(tensors, FlatTensors):
        return tensors.on(device)
    return {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}
