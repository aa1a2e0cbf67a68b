"""Exact match and F1 of answers, as the evaluation script of CMRC 2018 computes them.

Cui et al. 2019, "A Span-Extraction Dataset for Chinese Machine Reading Comprehension", section 4.1.
As shares, not in percent. The F1 is that of the longest common substring of segments: characters of
Chinese, words of anything else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ptm.components.objectives.scores.treebank_words import treebank_words

_CHINESE = re.compile("[\u4e00-\u9fa5]")
# The script compares single characters, so that its "……" matches nothing.
_LEFT_OUT = frozenset("-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")


def cmrc_scores(prediction: str, answers: Sequence[str]) -> tuple[float, float]:
    """Exact match and F1: the best over the gold answers, 0 without any."""
    predicted = segments(prediction)
    f1 = max((_f1(segments(answer), predicted) for answer in answers), default=0.0)
    found = _without_punctuation(prediction)
    exact = any(_without_punctuation(answer) == found for answer in answers)
    return float(exact), f1


def segments(text: str) -> list[str]:
    """The segments of a text, without its punctuation (`mixed_segmentation`)."""
    found: list[str] = []
    other = ""
    for character in _without_punctuation(text):
        if _CHINESE.match(character):
            found += treebank_words(other)
            found.append(character)
            other = ""
        else:
            other += character
    return found + treebank_words(other)


def _without_punctuation(text: str) -> str:
    return "".join(one for one in text.lower().strip() if one not in _LEFT_OUT)


def _f1(gold: Sequence[str], predicted: Sequence[str]) -> float:
    common = longest_common_substring(gold, predicted)
    if not common:
        return 0.0
    precision, recall = common / len(predicted), common / len(gold)
    return (2 * precision * recall) / (precision + recall)


def longest_common_substring(first: Sequence[str], second: Sequence[str]) -> int:
    """The number of segments of the longest run that both sequences have (`find_lcs`)."""
    longest = 0
    above = [0] * (len(second) + 1)
    for one in first:
        row = [0]
        for column, other in enumerate(second):
            row.append(above[column] + 1 if one == other else 0)
        longest = max(longest, *row)
        above = row
    return longest
