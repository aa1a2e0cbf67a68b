"""Checks of imported tensors before they are renamed: shapes and finite values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ptm.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor


def concatenated(
    tensors: Mapping[str, Tensor],
    names: Sequence[str],
    *,
    width: int,
    rows: Sequence[int] | None = None,
) -> Tensor:
    """Concatenate the tensors `names`, usually query, key and value: (3D, D), biases (3D,).

    D is `width`. `rows` gives the rows of each tensor if they are not D. Raises KeyError if a
    tensor is missing, and UserError unless each is (rows, D), or (rows,) for a bias.
    """
    import torch

    parts = [tensors[name] for name in names]
    for name, part, count in zip(names, parts, rows or [width] * len(names), strict=True):
        expected = (count,) if name.endswith("bias") else (count, width)
        if tuple(part.shape) != expected:
            raise UserError(
                f"{name} has the shape {tuple(part.shape)}, but the hidden size {width} in "
                f"config.json requires {expected}."
            )
    return torch.cat(parts)


def check_word_embedding(tensors: Mapping[str, Tensor], name: str) -> None:
    """Raise UserError if the tensor `name` exists and is not two-dimensional."""
    if name in tensors and tensors[name].dim() != 2:
        raise UserError(
            f"{name} has the shape {tuple(tensors[name].shape)}, but an embedding table must have "
            "two dimensions."
        )


def check_finite(tensors: Mapping[str, Tensor], *, source: str) -> None:
    """Raise UserError naming the first tensor, by name, that holds NaN or infinity."""
    import torch

    for name in sorted(tensors):
        finite = torch.isfinite(tensors[name])
        if not finite.all():
            wrong, all_of_it = int((~finite).sum()), finite.numel()
            raise UserError(
                f"{source}: {name} holds NaN or infinity ({wrong:,} of {all_of_it:,} values). "
                "The weights are damaged or come from a failed training run."
            )
