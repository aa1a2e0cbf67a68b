"""Words of plain text, and the text of given words."""

from __future__ import annotations

import pytest

from ptm.text.plain_words import WordRule, joined_words, rule_of, word_spans
from ptm.text.vocabulary import Vocabulary


@pytest.mark.parametrize(
    ("rule", "text", "words"),
    [
        ("characters", " 看 iP。\n", ["看", "i", "P", "。"]),
        ("spaces", "He's (New) York, U.S.", ["He's", "(", "New", ")", "York", ",", "U.S", "."]),
        ("spaces", "... --\tx_", [*"...", *"--", "x", "_"]),
        ("spaces", "", []),
    ],
)
def test_words_of_a_rule(rule: WordRule, text: str, words: list[str]) -> None:
    assert [text[begin:end] for begin, end in word_spans(text, rule)] == words


@pytest.mark.parametrize(
    ("rule", "words", "text"),
    [
        ("characters", ["5", "月", "n", "b", "a"], "5月nba"),
        ("characters", ["看", "New", "York", "，", "x"], "看New York，x"),
        ("spaces", ["a", ",", "看"], "a , 看"),
        ("spaces", [], ""),
    ],
)
def test_the_text_of_words_has_them_at_their_spans(
    rule: WordRule, words: list[str], text: str
) -> None:
    found, spans = joined_words(words, rule)
    assert found == text
    assert [found[begin:end] for begin, end in spans] == words


def test_the_rule_follows_from_the_share_of_chinese_tokens() -> None:
    def rule(*tokens: str) -> WordRule:
        return rule_of(Vocabulary(tokens, {}, source="here"))

    assert rule("a", "b", "c", "##看", "d") == "characters"
    assert rule("a", "b", "c", "##看", "d", "e") == "spaces"
