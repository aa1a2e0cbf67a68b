"""Entries: which tensors of a state dict of UER-py make up one parameter, and how.

UER-py's norms divide by the standard deviation over n - 1, `ptm`'s by that over n. The quotient is
the constant sqrt((n - 1) / n), which is moved into the weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ptm.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

LAYER_EPSILON, RMS_EPSILON = 1e-7, 1e-6
"""Epsilon of the norms of an imported model.

UER-py's layer norms add 1e-6 to the deviation, `ptm`'s add epsilon to the variance. 1e-7 has the
same effect at a deviation of 0.05, between that of fresh embeddings (0.03) and of trained ones. At
all deviations from 0.03 on, both norms differ by less than 2.5e-5 of the value, from 0.3 on by less
than 3e-6. RMS norms are the same in both.
"""


class StateDict(dict[str, "Tensor"]):
    """UER-py's tensors that no parameter was made from yet, and names that were not found."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__(tensors)
        self.missing: list[str] = []


@dataclass(frozen=True)
class Entry:
    """A parameter `ours`, made of the tensors `theirs`, concatenated by rows.

    `rows`: rows of each tensor, if there are several. `factor`: `ours` is this times `theirs`.
    `layer_norm`: the weight of a norm that divides by the deviation over n - 1. `rotary`: heads of
    each tensor whose pairs of channels are rotated, else 0.
    """

    ours: str
    theirs: tuple[str, ...]
    rows: tuple[int, ...] = ()
    factor: float = 1.0
    layer_norm: bool = False
    rotary: tuple[int, ...] = ()

    @property
    def head(self) -> str:
        """The module of a target that the tensors belong to, such as target.mlm."""
        return ".".join(self.theirs[0].split(".")[:2])

    def take(self, state: StateDict) -> Tensor | None:
        """Remove the tensors and return the parameter; None if one is missing.

        Raises UserError if one has another number of rows, or another width than the first.
        """
        import torch

        absent = [name for name in self.theirs if name not in state]
        if absent:
            state.missing += absent
            for name in self.theirs:
                state.pop(name, None)
            return None
        parts = [state.pop(name) for name in self.theirs]
        for name, part, rows in zip(self.theirs, parts, self.rows, strict=False):
            if part.dim() == 0 or len(part) != rows:
                raise UserError(
                    f"{name} has the shape {tuple(part.shape)}, but the config requires {rows} "
                    "rows."
                )
            if part.shape[1:] != parts[0].shape[1:]:
                raise UserError(
                    f"{name} has the shape {tuple(part.shape)}, but {self.theirs[0]} has "
                    f"{tuple(parts[0].shape)}."
                )
        if self.rotary:
            parts = [
                _halves(part, heads) if heads else part
                for part, heads in zip(parts, self.rotary, strict=True)
            ]
        whole = torch.cat(parts) if len(parts) > 1 else parts[0]
        factor = self._factor(whole)
        return whole if factor == 1.0 else whole * factor

    def give(self, parameter: Tensor) -> dict[str, Tensor]:
        """Return the tensors of the parameter."""
        import torch

        factor = self._factor(parameter)
        whole = parameter if factor == 1.0 else parameter / factor
        parts = torch.split(whole, list(self.rows)) if len(self.theirs) > 1 else (whole,)
        return dict(zip(self.theirs, parts, strict=True))

    def _factor(self, tensor: Tensor) -> float:
        count = tensor.numel()
        return ((count - 1) / count) ** 0.5 if self.layer_norm and count > 1 else self.factor


def linear(ours: str, theirs: str) -> list[Entry]:
    """Return the entries of a linear layer with a bias."""
    return [Entry(f"{ours}.{kind}", (f"{theirs}.{kind}",)) for kind in ("weight", "bias")]


def layer_norm(ours: str, theirs: str) -> list[Entry]:
    """Return the entries of UER-py's LayerNorm, whose parameters are gamma and beta."""
    return [
        Entry(f"{ours}.weight", (f"{theirs}.gamma",), layer_norm=True),
        Entry(f"{ours}.bias", (f"{theirs}.beta",)),
    ]


def table(ours: str, theirs: str) -> Entry:
    """Return the entry of an embedding table."""
    return Entry(f"{ours}.weight", (f"{theirs}.weight",))


def take(state: StateDict, entries: Iterable[Entry]) -> dict[str, Tensor]:
    """Remove the tensors of the entries and return the parameters by canonical name."""
    found = {entry.ours: entry.take(state) for entry in entries}
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def give(tensors: dict[str, Tensor], entries: Iterable[Entry]) -> dict[str, Tensor]:
    """Remove the parameters of the entries and return the tensors by UER-py's names."""
    found: dict[str, Tensor] = {}
    for entry in entries:
        if entry.ours in tensors:
            found |= entry.give(tensors.pop(entry.ours))
    return found


def _halves(part: Tensor, heads: int) -> Tensor:
    """Order the rows of each head from pairs (0, 1), (2, 3) … to pairs (0, S/2), (1, S/2 + 1) …"""
    by_pair = part.view(heads, -1, 2, *part.shape[1:])
    return by_pair.transpose(1, 2).reshape(part.shape)
