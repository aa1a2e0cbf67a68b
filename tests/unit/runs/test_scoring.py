"""BLEU and ROUGE of generated texts."""

from __future__ import annotations

import pytest

from ptm.runs.scoring import text_scores

ENGLISH = ["the cat sat on the mat today", "a dog ran over the green hill there"]
CHINESE = ["今天天气很好我们去公园", "这本书写得非常好看"]


@pytest.mark.parametrize("texts", [ENGLISH, CHINESE])
def test_equal_texts_have_the_highest_scores(texts: list[str]) -> None:
    scores = text_scores(texts, texts)
    assert scores["bleu"] == pytest.approx(100)
    assert scores["rouge1"] == scores["rouge2"] == scores["rougeL"] == 1


def test_chinese_is_compared_by_characters() -> None:
    scores = text_scores(["这本书写得不好看", CHINESE[0]], [CHINESE[1], CHINESE[0]])
    assert "tok:zh" in scores["bleu_signature"]
    # 7 of 8 generated characters are among the 9 of the reference: F is 14/17. The other is equal.
    assert scores["rouge1"] == pytest.approx((14 / 17 + 1) / 2)
    assert 0 < scores["bleu"] < 100


def test_english_is_compared_by_words() -> None:
    scores = text_scores(["the dog sat on the mat today", ENGLISH[1]], ENGLISH)
    assert "tok:13a" in scores["bleu_signature"]
    assert scores["rouge1"] == pytest.approx((6 / 7 + 1) / 2)


def test_empty_texts_score_zero() -> None:
    scores = text_scores(["", ""], ENGLISH)
    assert scores["bleu"] == scores["rougeL"] == 0


def test_sentinels_are_not_scored() -> None:
    marked = [f"<extra_id_0>{text}<extra_id_1>" for text in CHINESE]
    scores = text_scores(marked, marked)
    assert "tok:zh" in scores["bleu_signature"]
    assert text_scores(["<extra_id_0>", "<extra_id_0>"], marked)["rouge1"] == 0
