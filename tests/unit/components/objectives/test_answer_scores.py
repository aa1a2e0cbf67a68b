"""Exact match and F1 of answers: those of the official scripts, and words those of NLTK.

tests/fixtures/answer_scores.json has what the scripts of SQuAD 1.1, SQuAD 2.0 and CMRC 2018 return;
the last one with NLTK's `word_tokenize(preserve_line=True)`, which needs no data.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from nltk.tokenize.destructive import NLTKWordTokenizer

from ptm.components.objectives.scores.cmrc_scores import (
    cmrc_scores,
    longest_common_substring,
    segments,
)
from ptm.components.objectives.scores.squad_scores import (
    best_threshold,
    squad2_scores,
    squad_scores,
)
from ptm.components.objectives.scores.treebank_words import treebank_words

CASES = json.loads(
    (Path(__file__).parents[3] / "fixtures" / "answer_scores.json").read_text(encoding="utf-8")
)
SCORERS: dict[str, Callable[[str, Sequence[str]], tuple[float, float]]] = {
    "squad": squad_scores,
    "squad2": squad2_scores,
    "cmrc": cmrc_scores,
}


@pytest.mark.parametrize("name", SCORERS)
def test_scores_are_those_of_the_official_script(name: str) -> None:
    for prediction, answers, exact, f1 in CASES[name]:
        assert SCORERS[name](prediction, answers) == (exact, f1), (prediction, answers)


def test_rules_of_squad_1_and_2_differ_where_nothing_is_left_of_an_answer() -> None:
    assert squad_scores("the", ["a"]) == (1.0, 0.0)
    assert squad2_scores("the", ["a"]) == (1.0, 1.0)


def test_thresholds_are_those_of_the_official_script() -> None:
    for scores, differences, has_answer, best, threshold in CASES["thresholds"]:
        found = best_threshold(np.array(scores), np.array(differences), np.array(has_answer))
        assert found == pytest.approx((best, threshold), abs=1e-12)


def test_words_are_those_of_nltk() -> None:
    dice = random.Random(0)
    pieces = (
        *("can't", "they're", "gonna", "'tis", "U.S.", "3.14", "1,000", '"hi"', "``x''", "(a)"),
        *("--", "...", "a:b", "a: b", "%", "$5", "I'd", "cannot", "wanna go", "x's", "«q»", "“w”"),
        *("‘e’", "end.", "what?!", "no;", "@me", "*", "–", "more'n", "d'ye", "lemme", "o'", "''"),
    )
    theirs = NLTKWordTokenizer()
    for _ in range(3000):
        count = dice.randint(1, 6)
        text = "".join(dice.choice(pieces) + dice.choice((" ", "", ".")) for _ in range(count))
        assert treebank_words(text) == theirs.tokenize(text)


def test_segments_are_chinese_characters_and_other_words() -> None:
    assert segments(" 《ABC》在1980.5年, can't。") == [
        "abc",
        "在",
        "1980.5",
        "年",
        ",",
        "ca",
        "n't",
    ]
    assert longest_common_substring("xabcy", "zabcab") == 3
    assert longest_common_substring("axbxc", "abc") == 1
