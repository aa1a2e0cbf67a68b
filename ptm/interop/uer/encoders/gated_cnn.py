"""UER-py's encoder gatedcnn: two-dimensional convolutions, with biases of their own and added ones.

For each of the two convolutions of a layer (A, and B that the gate is made of) UER-py adds the bias
of torch's module and one more. `ptm` has their sum; an export writes zeros as the second.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ptm.components.encoders import Encoder
from ptm.components.encoders.gated_cnn import GatedCnn
from ptm.errors import UserError
from ptm.interop.uer.encoders.base import EncoderFormat

if TYPE_CHECKING:
    from torch import Tensor

    from ptm.interop.uer.entries import StateDict

# C input channels, D output channels, K kernel size.

_BLOCK_SIZE = 2
"""Layers per residual connection."""


@dataclass(frozen=True)
class _Convolution:
    """UER-py's names of the tensors of A or of B in one layer."""

    module: str
    added_bias: str
    is_first: bool
    """The first layer reads an image of one channel and width C, (D, 1, K, C); all others read one
    of C channels and width 1, (D, C, K, 1)."""

    def take(self, theirs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Remove its tensors; return a matrix (D, K C) and a bias (D)."""
        weight = theirs.pop(f"{self.module}.weight")
        bias = theirs.pop(f"{self.module}.bias")
        if weight.dim() != 4 or weight.shape[1 if self.is_first else 3] != 1:
            expected = "(channels, 1, kernel, width)" if self.is_first else "(…, …, kernel, 1)"
            raise UserError(
                f"{self.module}.weight has the shape {tuple(weight.shape)}, but a convolution of "
                f"gatedcnn has {expected}."
            )
        by_step = weight[:, 0] if self.is_first else weight[..., 0].transpose(1, 2)
        return by_step.flatten(1), bias + theirs.pop(self.added_bias).flatten()

    def give(self, matrix: Tensor, bias: Tensor, *, kernel_size: int) -> dict[str, Tensor]:
        """Return its tensors for a matrix (D, K C) and a bias (D)."""
        import torch

        by_step = matrix.view(len(matrix), kernel_size, -1)
        weight = by_step[:, None] if self.is_first else by_step.transpose(1, 2)[..., None]
        return {
            f"{self.module}.weight": weight,
            f"{self.module}.bias": bias,
            self.added_bias: torch.zeros(1, len(bias), 1, 1),
        }


class GatedConvolutions(EncoderFormat):
    """A stack of gated convolutions with a residual connection every two layers."""

    type = "gated_cnn"

    def block(self, config: Mapping[str, Any]) -> dict[str, Any]:
        if config["block_size"] != _BLOCK_SIZE:
            raise UserError(
                f"block_size = {json.dumps(config['block_size'])} is not supported. "
                f"Supported: {_BLOCK_SIZE}."
            )
        return {
            "type": self.type,
            "layers": config["layers_num"],
            "hidden_size": config["hidden_size"],
            "kernel_size": config["kernel_size"],
        }

    def config(self, encoder: Encoder) -> dict[str, Any]:
        assert isinstance(encoder, GatedCnn), "the encoder must be a gated CNN"
        return {
            "encoder": "gatedcnn",
            "hidden_size": encoder.hidden_size,
            "layers_num": encoder.layers,
            "kernel_size": encoder.kernel_size,
            "block_size": _BLOCK_SIZE,
        }

    def from_uer(self, theirs: StateDict, config: Mapping[str, Any]) -> dict[str, Tensor]:
        import torch

        found = {}
        for name, parts in _layers(config):
            weights, biases = zip(*(part.take(theirs) for part in parts), strict=True)
            found[f"{name}weight"] = torch.cat(weights)
            found[f"{name}bias"] = torch.cat(biases)
        return found

    def to_uer(self, ours: dict[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for name, parts in _layers(config):
            weights, biases = ours.pop(f"{name}weight").chunk(2), ours.pop(f"{name}bias").chunk(2)
            for part, weight, bias in zip(parts, weights, biases, strict=True):
                found |= part.give(weight, bias, kernel_size=config["kernel_size"])
        return found

    def describes(self, theirs: Mapping[str, Tensor]) -> bool:
        return "encoder.gate_1.weight" in theirs


def _layers(config: Mapping[str, Any]) -> Iterator[tuple[str, tuple[_Convolution, _Convolution]]]:
    """Yield the canonical prefix of every layer, and its convolutions A and B."""
    a, b = (
        _Convolution(f"encoder.{part}_1", f"encoder.{part}_b1", is_first=True)
        for part in ("conv", "gate")
    )
    yield "encoder_00.", (a, b)
    for index in range(config["layers_num"] - 1):
        block, second = divmod(index, _BLOCK_SIZE)
        a, b = (
            _Convolution(f"encoder.{part}.{index}", f"encoder.{part}_b.{index}", is_first=False)
            for part in ("conv", "gate")
        )
        yield f"encoder_{block + 1:02}.{'second' if second else 'first'}.", (a, b)
