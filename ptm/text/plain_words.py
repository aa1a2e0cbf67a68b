"""Words of plain text, for models whose corpora give the words: a tag belongs to each of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from ptm.text.vocabulary import Vocabulary
from ptm.text.words import chinese_characters

WordRule = Literal["characters", "spaces"]
"""characters: each character but white space is a word. spaces: white space separates words, and
punctuation marks at the begin and the end of one are words of their own."""

_CHARACTER = re.compile(r"\S")
_BETWEEN_SPACES = re.compile(r"\S+")
_MARK = re.compile(r"[^\w\s]|_")
_CHINESE_SHARE = 0.2
"""Of BERT's vocabularies, that of Chinese has a share of 0.35, the multilingual one of 0.12, the
English one of 0.01."""

Span = tuple[int, int]
"""Where a word is in its text: its first character, and the one after its last."""


def rule_of(vocabulary: Vocabulary) -> WordRule:
    """The rule for a vocabulary: characters if at least a fifth of its tokens has Chinese ones."""
    tokens = vocabulary.tokens
    chinese = sum(bool(chinese_characters(token).any()) for token in tokens)
    return "characters" if chinese >= _CHINESE_SHARE * len(tokens) else "spaces"


def word_spans(text: str, rule: WordRule) -> list[Span]:
    """The words of a text, in order."""
    if rule == "characters":
        return [found.span() for found in _CHARACTER.finditer(text)]
    spans: list[Span] = []
    for found in _BETWEEN_SPACES.finditer(text):
        spans += _without_marks(text, *found.span())
    return spans


def _without_marks(text: str, begin: int, end: int) -> list[Span]:
    """A word, with the punctuation marks around it as words of their own."""
    first, last = begin, end
    while first < last and _MARK.match(text[first]):
        first += 1
    while last > first and _MARK.match(text[last - 1]):
        last -= 1
    word = [(first, last)] if first < last else []
    before = [(at, at + 1) for at in range(begin, first)]
    return [*before, *word, *((at, at + 1) for at in range(last, end))]


def joined_words(words: Sequence[str], rule: WordRule) -> tuple[str, list[Span]]:
    """The text that words are, and where each of them is.

    `spaces`: with a space between them. `characters`: without, except between words of several
    letters, such as English ones.
    """
    spans, parts, at = [], [], 0
    before = ""
    for word in words:
        apart = before and (rule == "spaces" or _needs_space(before, word))
        parts.append(f" {word}" if apart else word)
        at += len(parts[-1])
        spans.append((at - len(word), at))
        before = word
    return "".join(parts), spans


def _needs_space(before: str, word: str) -> bool:
    letters = (before[-1] + word[0]).isascii() and before[-1].isalnum() and word[0].isalnum()
    return letters and max(len(before), len(word)) > 1
