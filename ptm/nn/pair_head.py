"""Two classes for a pair of texts, from the first token of each example (Devlin et al. 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ptm.nn.shape import ModelShape
from ptm.plan import Step

# B rows, T tokens, D width, P examples (padded).

_CLASSES = 2


class Pooler(nn.Module):
    """Dense and tanh over the first token of each example."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)

    def forward(self, hidden: Tensor, pair_positions: Tensor) -> Tensor:
        """(B, T, D), (P) indices into the flattened rows -> (P, D)."""
        gathered = hidden.flatten(0, 1).index_select(0, pair_positions)
        pooled: Tensor = torch.tanh(self.dense(gathered))
        return pooled


def pair_steps(shape: ModelShape) -> tuple[Step, ...]:
    """hidden -> pair_logits (P, 2)."""
    width = shape.hidden_size
    return (
        Step("pooler", lambda: Pooler(width), ("hidden", "pair_positions"), ("pooled",)),
        Step(
            "pair_classifier",
            lambda: nn.Linear(width, _CLASSES),
            ("pooled",),
            ("pair_logits",),
        ),
    )
