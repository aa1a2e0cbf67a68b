"""What weights of others must be before they are renamed: of the config's shape, and numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ptm.errors import UserError


def joined(
    tensors: Mapping[str, Tensor],
    names: Sequence[str],
    *,
    width: int,
    rows: Sequence[int] | None = None,
) -> Tensor:
    """Query, key and value of these names as one, (3D, D) or, of biases, (3D,).

    `rows`: of each, where they are not D. Raises KeyError where one is missing, UserError unless
    each is (D, D) or (D,), D being `width`.
    """
    parts = [tensors[name] for name in names]
    for name, part, count in zip(names, parts, rows or [width] * len(names), strict=True):
        asked = (count,) if name.endswith("bias") else (count, width)
        if tuple(part.shape) != asked:
            raise UserError(
                f"{name} has the shape {tuple(part.shape)}, but the hidden size {width} of its "
                f"config.json asks for {asked}."
            )
    return torch.cat(parts)


def refuse_no_table(tensors: Mapping[str, Tensor], name: str) -> None:
    """Raise UserError where the tensor is there and has not rows and columns."""
    if name in tensors and tensors[name].dim() != 2:
        raise UserError(
            f"{name} has the shape {tuple(tensors[name].shape)}; a table has rows and columns."
        )


def refuse_non_finite(tensors: Mapping[str, Tensor], *, source: str) -> None:
    """Raise UserError naming the first tensor that holds NaN or infinity."""
    for name in sorted(tensors):
        finite = torch.isfinite(tensors[name])
        if not finite.all():
            wrong, all_of_it = int((~finite).sum()), finite.numel()
            raise UserError(
                f"{source}: {name} holds NaN or infinity ({wrong:,} of {all_of_it:,} values): "
                "the weights are those of a training that failed, or damaged."
            )
