"""Words of English text by the rules of the Penn Treebank, as NLTK's `NLTKWordTokenizer` has them.

CMRC 2018's evaluation script splits text between Chinese characters with `nltk.word_tokenize`. The
rules are written anew here, in their order, so that scores need neither NLTK nor its data. That
function also splits sentences, by a trained model: here a text is one sentence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_Rules = Sequence[tuple[re.Pattern[str], str]]

_OPENING_QUOTES: _Rules = (
    (re.compile("([«“‘„]|[`]+)"), r" \1 "),
    (re.compile(r'^"'), "``"),
    (re.compile("(``)"), r" \1 "),
    (re.compile(r"([ (\[{<])(\"|'{2})"), r"\1 `` "),
    (re.compile(r"(?i)(?<!\w)(')(?!(?:re|ve|ll|m|t|s|d|n)\b)(?=\w)"), r"\1 "),
)
_PUNCTUATION: _Rules = (
    (re.compile(r"([^.])(\.)([\])}>\"'»”’ ]*+)\s*$"), r"\1 \2 \3 "),
    (re.compile(r"([:,])([^\d])"), r" \1 \2"),
    (re.compile(r"([:,])$"), r" \1 "),
    (re.compile(r"\.{2,}"), r" \g<0> "),
    (re.compile(r"[;@#$%&]"), r" \g<0> "),
    # Figure, en and em dashes, and horizontal bars.
    (re.compile(r"[\u2012-\u2015]"), r" \g<0> "),
    (re.compile(r"([^.])(\.)([\])}>\"']*)\s*$"), r"\1 \2\3 "),
    (re.compile(r"[?!]"), r" \g<0> "),
    (re.compile(r"([^'])' "), r"\1 ' "),
    (re.compile(r"[*]"), r" \g<0> "),
    (re.compile(r"[][(){}<>]"), r" \g<0> "),
    (re.compile("--"), " -- "),
)
_CLOSING_QUOTES: _Rules = (
    (re.compile("([»”’])"), r" \1 "),
    (re.compile("''"), " '' "),
    (re.compile('"'), " '' "),
    (re.compile(r"\s+"), " "),
    (re.compile("([^' ])('[sS]|'[mM]|'[dD]|') "), r"\1 \2 "),
    (re.compile("([^' ])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T) "), r"\1 \2 "),
)
_CONTRACTIONS: _Rules = tuple(
    (re.compile(rf"(?i){pattern}"), r" \1 \2 ")
    for pattern in (
        r"\b(can)(not)\b",
        r"\b(d)('ye)\b",
        r"\b(gim)(me)\b",
        r"\b(gon)(na)\b",
        r"\b(got)(ta)\b",
        r"\b(lem)(me)\b",
        r"\b(more)('n)\b",
        r"\b(wan)(na)(?=\s)",
        r" ('t)(is)\b",
        r" ('t)(was)\b",
    )
)


def treebank_words(text: str) -> list[str]:
    """The words and punctuation marks of a sentence."""
    for rules in (_OPENING_QUOTES, _PUNCTUATION):
        text = _replaced(text, rules)
    # The rules of closing quotes and clitics look at the space after a word.
    return _replaced(_replaced(f" {text} ", _CLOSING_QUOTES), _CONTRACTIONS).split()


def _replaced(text: str, rules: _Rules) -> str:
    for pattern, replacement in rules:
        text = pattern.sub(replacement, text)
    return text
