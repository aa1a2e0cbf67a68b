"""A stand-in for FlashAttention over sequences, which runs on GPUs only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional as F


def each_sequence(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    offsets: Tensor,
    key_offsets: Tensor,
    longest: int,
    *,
    window: tuple[int, int],
    dropout: float,
    scale: float,
) -> Tensor:
    """Attention of one sequence after another; empty sequences have no output."""
    assert not dropout
    assert offsets.dtype == key_offsets.dtype == torch.int32
    assert int(offsets.diff().max()) <= longest
    assert (int(offsets[-1]), int(key_offsets[-1])) == (len(query), len(key))
    outputs = []
    for at, key_at in zip(
        offsets.unfold(0, 2, 1).tolist(), key_offsets.unfold(0, 2, 1).tolist(), strict=True
    ):
        one, keys = slice(*at), slice(*key_at)
        if key_at[0] == key_at[1]:
            outputs.append(torch.zeros_like(query[one]))
            continue
        distance = torch.arange(at[1] - at[0])[:, None] - torch.arange(key_at[1] - key_at[0])
        before, after = (len(key) if side < 0 else side for side in window)
        outputs.append(
            F.scaled_dot_product_attention(
                query[one].transpose(0, 1)[None],
                key[keys].transpose(0, 1)[None],
                value[keys].transpose(0, 1)[None],
                attn_mask=(distance <= before) & (distance >= -after),
                scale=scale,
                enable_gqa=query.shape[1] != key.shape[1],
            )[0].transpose(0, 1)
        )
    return torch.cat(outputs)


@contextmanager
def varlen_attention() -> Iterator[None]:
    """Let the engines choose attention by sequences, computed by `each_sequence`."""
    with (
        patch("ptm.nn.attention_choice.flash_varlen", each_sequence),
        patch("ptm.engines.zero.attention_implementation", return_value="varlen"),
        patch("ptm.engines.pipeline.attention_implementation", return_value="varlen"),
    ):
        yield
