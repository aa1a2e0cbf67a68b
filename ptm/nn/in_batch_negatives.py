"""Losses of sentence embeddings: negatives of the batch, and the cosine of scored pairs.

Gao et al. 2021 (SimCSE), equations 1 and 5; multiple negatives ranking of sentence-transformers.

Shapes: N texts of a whole batch (padded), D width, R rows of them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ptm.nn.model_shape import ANCHOR, POSITIVE


def ranking_sums(
    embeddings: Tensor, roles: Tensor, hashes: Tensor, rows: Tensor, *, temperature: float
) -> tuple[Tensor, Tensor]:
    """Return the cross entropy and the number of anchors whose positive is the most similar text.

    Each anchor in the texts `rows` (R) is compared with all positives and negatives of the batch:
    `embeddings` (N, D), `roles` (N), `hashes` (N) of the texts. Scores are cosines divided by
    `temperature`. A text equal to the anchor or to its positive is no negative.
    """
    vectors = F.normalize(embeddings.float(), dim=-1)
    texts = len(vectors)
    # That of another text for a row that is no anchor, whose loss is ignored.
    positives = (rows + 1).clamp(max=texts - 1)
    scores = vectors[rows] @ vectors.T / temperature
    same = (hashes == hashes[rows][:, None]) | (hashes == hashes[positives][:, None])
    blocked = (same | (roles < POSITIVE)) & (
        torch.arange(texts, device=rows.device) != positives[:, None]
    )
    # Not infinity, whose gradient is NaN in a batch that has nothing but padding.
    scores = scores.masked_fill(blocked, torch.finfo(scores.dtype).min)
    anchors = roles[rows] == ANCHOR
    wanted = positives.masked_fill(~anchors, -100)
    loss = F.cross_entropy(scores, wanted, ignore_index=-100, reduction="sum")
    hits = (scores.detach().argmax(dim=1) == positives) & anchors
    return loss, hits.sum().float()


def pair_cosines(embeddings: Tensor) -> Tensor:
    """Embeddings (N, D), the two texts of a pair after each other -> cosines (N / 2) in fp32."""
    vectors = F.normalize(embeddings.float(), dim=-1)
    return (vectors[0::2] * vectors[1::2]).sum(dim=-1)
