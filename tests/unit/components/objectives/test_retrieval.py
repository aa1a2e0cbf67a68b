"""Scores of retrieval, against scikit-learn and a search by sorting."""

from __future__ import annotations

import numpy as np
import pytest

from ptm.components.objectives.scores import retrieval
from ptm.components.objectives.scores.retrieval import RetrievalTask, retrieval_scores


def task_of(queries: list[int], positives: list[int], others: list[int]) -> RetrievalTask:
    """Texts are numbers: the queries, the positive of each, and further candidates."""
    count = len(queries)
    hashes = np.array([*queries, *positives, *others], dtype=np.int64)
    at = np.arange(len(hashes))
    return RetrievalTask.of(at[:count], at[count : 2 * count], at[2 * count :], hashes)


def drawn(seed: int) -> tuple[RetrievalTask, np.ndarray]:
    """40 pairs of few different texts, so that queries have several relevant texts, and vectors."""
    dice = np.random.default_rng(seed)
    queries = (100 + dice.integers(0, 15, 40)).tolist()
    positives, others = dice.integers(0, 30, 40).tolist(), dice.integers(20, 60, 10).tolist()
    # Two queries are candidates too, and one candidate is its own query.
    others += queries[:2]
    positives[5] = queries[5]
    of_text = dice.normal(size=(200, 6)).astype(np.float32)
    return task_of(queries, positives, others), of_text[[*queries, *positives, *others]]


def sorted_scores(task: RetrievalTask, vectors: np.ndarray) -> dict[str, float]:
    from sklearn.metrics import ndcg_score

    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit[task.queries] @ unit[task.candidates].T
    relevant = np.zeros(cosines.shape)
    relevant[task.query, task.candidate] = 1
    found: dict[str, list[float]] = {"mrr": [], "ndcg@10": [], "recall@1": [], "recall@10": []}
    for row in range(len(cosines)):
        kept = np.arange(len(task.candidates)) != task.itself[row]
        scores, wanted = cosines[row][kept], relevant[row][kept]
        order = np.argsort(-scores, kind="stable")
        found["mrr"].append(1 / (1 + np.flatnonzero(wanted[order])[0]))
        found["ndcg@10"].append(ndcg_score([wanted], [scores], k=10))
        for k in (1, 10):
            found[f"recall@{k}"].append(wanted[order[:k]].sum() / wanted.sum())
    return {name: float(np.mean(values)) for name, values in found.items()}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("together", [2**24, 100])
def test_scores_are_those_of_sorted_candidates(
    seed: int, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieval, "_NUMBERS_TOGETHER", together)
    task, vectors = drawn(seed)
    assert np.bincount(task.query).max() > 2
    assert (task.itself >= 0).any()
    found = retrieval_scores(task, task.ranks(vectors))
    assert found == pytest.approx(sorted_scores(task, vectors), abs=1e-6)


def test_a_text_is_no_candidate_for_itself_unless_it_is_relevant() -> None:
    task = task_of([1, 2], [3, 2], [1])
    assert task.itself.tolist() == [0, -1], "the candidates are 1, 2 and 3"
    vectors = np.eye(5, dtype=np.float32)[[0, 1, 2, 1, 0]]
    # The query 1 equals the candidate 1, which is left out; 2 and 3 are equally far, 2 is first.
    assert task.ranks(vectors).tolist() == [2, 1]


def test_equal_pairs_count_once_and_more_relevant_texts_share_the_first_places() -> None:
    task = task_of([1, 1, 1], [5, 6, 5], [])
    assert task.query.tolist() == [0, 0]
    scores = retrieval_scores(task, np.array([1, 2]))
    assert scores == {"mrr": 1.0, "ndcg@10": 1.0, "recall@1": 0.5, "recall@10": 1.0}
