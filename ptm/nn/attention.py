"""Multi-head self-attention within examples (Vaswani et al. 2017, section 3.2)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

# B rows, T tokens a row, D width, H heads.


def same_example(example_ids: Tensor) -> Tensor:
    """(B, T) example ids -> (B, 1, T, T) bool: query and key belong to one example.

    Padding (id 0) sees padding, so that no softmax is over nothing.
    """
    return (example_ids[:, :, None] == example_ids[:, None, :])[:, None]


class SelfAttention(nn.Module):
    """Full-visibility attention: every token of an example sees all of that example."""

    def __init__(self, hidden_size: int, heads: int, *, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size)
        self.output = nn.Linear(hidden_size, hidden_size)

    def forward(self, hidden: Tensor, example_ids: Tensor) -> Tensor:
        """(B, T, D), (B, T) -> (B, T, D)."""
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.qkv(hidden).chunk(3, dim=-1)
        )
        mixed = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=same_example(example_ids),
            dropout_p=self.dropout if self.training else 0.0,
        )
        attended: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return attended
