"""Exact match and F1 of answers, as the evaluation scripts of SQuAD 1.1 and 2.0 compute them.

Rajpurkar et al. 2016, section 6.1; Rajpurkar, Jia and Liang 2018, section 5. As shares, not in
percent. Shapes: Q questions.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import Flags

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(answer: str) -> str:
    """The answer in lower case, without ASCII punctuation, articles and surplus white space."""
    text = answer.lower().translate(_WITHOUT_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", text).split())


def squad_scores(prediction: str, answers: Sequence[str]) -> tuple[float, float]:
    """Exact match and F1 of SQuAD 1.1: the best over the gold answers, 0 without any."""
    found = normalised(prediction)
    gold = [normalised(answer) for answer in answers]
    words = found.split()
    f1 = max((_f1(words, one.split()) for one in gold), default=0.0)
    return float(found in gold), f1


def squad2_scores(prediction: str, answers: Sequence[str]) -> tuple[float, float]:
    """Exact match and F1 of SQuAD 2.0, where "" is the answer of a question that has none.

    Gold answers of which nothing is left after the normalisation do not count.
    """
    found = normalised(prediction)
    gold = [one for answer in answers if (one := normalised(answer))] or [""]
    words = found.split()
    f1 = max(
        _f1(words, one.split()) if words and one else float(words == one.split()) for one in gold
    )
    return float(found in gold), f1


def _f1(predicted: Sequence[str], gold: Sequence[str]) -> float:
    same = sum((Counter(predicted) & Counter(gold)).values())
    if not same:
        return 0.0
    precision, recall = same / len(predicted), same / len(gold)
    return (2 * precision * recall) / (precision + recall)


def best_threshold(
    scores: NDArray[np.float64], differences: NDArray[np.float64], has_answer: Flags
) -> tuple[float, float]:
    """The best mean score that a threshold on the score of no answer can give, and the threshold.

    `scores` (Q): of the best answers that are not empty. `differences` (Q): the score of no answer
    minus that of the best answer; a question is answered if it is at most the threshold.
    `has_answer` (Q). As `find_best_thresh` of SQuAD 2.0's script: 0 if no question should be
    answered.
    """
    order = np.argsort(differences, kind="stable")
    unanswered = int(np.count_nonzero(~has_answer))
    totals = unanswered + np.cumsum(np.where(has_answer, scores, -1.0)[order])
    best = int(np.argmax(totals)) if totals.size else 0
    if not totals.size or totals[best] <= unanswered:
        return unanswered / max(1, scores.size), 0.0
    return float(totals[best]) / scores.size, float(differences[order[best]])
