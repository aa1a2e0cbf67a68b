"""Scores of retrieval: the rank of every relevant text among all texts of a set.

Shapes: N texts of a set, Q queries, C candidates, R pairs of a query and a relevant candidate, D
width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64

_NUMBERS_TOGETHER = 2**24
"""Similarities that are in memory at once."""
RETRIEVAL_SCORES = ("mrr", "ndcg@10", "recall@1", "recall@10")
F32 = NDArray[np.float32]


@dataclass(frozen=True)
class RetrievalTask:
    """Which texts (indexes into a set) are queries and candidates, and which belong together.

    `queries` (Q) and `candidates` (C) have no two equal texts. `query`, `candidate` (R): the
    relevant pairs, by position in these, sorted. `itself` (Q): the candidate that has the text of
    the query and is not relevant, so that it is left out; -1 without one.
    """

    queries: I64
    candidates: I64
    query: I64
    candidate: I64
    itself: I64

    @staticmethod
    def of(anchors: I64, positives: I64, others: I64, hashes: I64) -> RetrievalTask:
        """Return the task of finding the positive of each anchor among all positives and `others`.

        `hashes` (N): equal for equal texts. An anchor that occurs several times has several
        relevant texts.
        """
        every = np.concatenate([positives, others])
        texts, first = np.unique(hashes[every], return_index=True)
        wanted, first_query, query = np.unique(
            hashes[anchors], return_index=True, return_inverse=True
        )
        pairs = np.stack([query, np.searchsorted(texts, hashes[positives])], axis=1)
        relevant = np.unique(pairs, axis=0).astype(np.int64)
        place = np.minimum(np.searchsorted(texts, wanted), len(texts) - 1)
        itself = np.where(texts[place] == wanted, place, -1)
        found = relevant[:, 1] == itself[relevant[:, 0]]
        itself[relevant[found, 0]] = -1
        return RetrievalTask(
            anchors[first_query], every[first], relevant[:, 0], relevant[:, 1], itself
        )

    def ranks(self, vectors: F32) -> I64:
        """Return the rank (R) of each relevant candidate for its query, from 1, by cosine.

        Of equal cosines the candidate that comes first has the better rank.
        """
        unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        candidates = unit[self.candidates]
        ranks = np.empty(self.query.size, dtype=np.int64)
        step = max(1, _NUMBERS_TOGETHER // len(candidates))
        for begin in range(0, self.queries.size, step):
            chosen = slice(*np.searchsorted(self.query, [begin, begin + step]))
            cosines = unit[self.queries[begin : begin + step]] @ candidates.T
            itself = self.itself[begin : begin + step]
            cosines[itself >= 0, itself[itself >= 0]] = -np.inf
            # Pairs of one query follow each other, so that few rows are copied at a time.
            for part in range(chosen.start, chosen.stop, step):
                pairs = slice(part, min(part + step, chosen.stop))
                rows = cosines[self.query[pairs] - begin]
                at = self.candidate[pairs]
                own = rows[np.arange(at.size), at][:, None]
                before = np.arange(len(candidates)) < at[:, None]
                better = (rows > own) | ((rows == own) & before)
                ranks[pairs] = 1 + better.sum(axis=1)
        return ranks


def retrieval_scores(task: RetrievalTask, ranks: I64) -> Mapping[str, float]:
    """Return the means over all queries, given the rank of each relevant candidate (R).

    `mrr`: 1 / the best rank. `ndcg@10`: binary relevance, as scikit-learn's `ndcg_score`.
    `recall@k`: share of the relevant candidates among the first k.
    """
    queries = task.queries.size

    def mean(of_pairs: NDArray[Any], divisor: NDArray[Any]) -> float:
        total = np.bincount(task.query, weights=of_pairs, minlength=queries)
        return float(np.mean(total / divisor))

    relevant = np.bincount(task.query, minlength=queries)
    best = np.full(queries, np.iinfo(np.int64).max)
    np.minimum.at(best, task.query, ranks)
    gains = 1 / np.log2(np.arange(10) + 2)
    ideal = np.cumsum(gains)[np.minimum(relevant, 10) - 1]
    gained = np.where(ranks <= 10, gains[np.minimum(ranks, 10) - 1], 0.0)
    return {
        "mrr": float(np.mean(1 / best)),
        "ndcg@10": mean(gained, ideal),
        **{f"recall@{k}": mean(ranks <= k, relevant) for k in (1, 10)},
    }
