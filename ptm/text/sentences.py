"""Sentences of running text, Chinese and Western, by rules: what `data.sentence_splitting` does.

Chinese ends a sentence with 。！？；…, whatever follows, and what closes a quotation belongs to it.
Western text ends one with . ! ?, where white space and no small letter follows, except after a
known abbreviation or an initial; so decimals, domains and ellipses inside a sentence stay whole.
"""

from __future__ import annotations

import re

_CHINESE = "。｡！？；…"
_CLOSING = "”’」』）》】〉〕\"')\\]}"
_OPENING = "“‘「『（《【〈〔\"'(\\[{"
_HANZI = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"

_STOP = re.compile(rf"[{_CHINESE}.!?]+[{_CLOSING}]*")
_NEXT = re.compile(rf"(\s*)[{_OPENING}]*(.?)", re.DOTALL)
_WORD = re.compile(r"[^\s(\[\"'“‘]+$")
_LONGEST_WORD = 24
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")
_TITLES = "mr mrs ms mx dr prof st sr jr rev hon gov sen rep gen col maj capt lt sgt cmdr adm"
_DATES = "jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu fri sat sun"
_REFERENCES = "vs cf al vol vols ed eds dept univ assn ca approx est resp viz"
_NAMES = "bros inc ltd co corp mt ft ave blvd rd"
_ABBREVIATIONS = frozenset(" ".join((_TITLES, _DATES, _REFERENCES, _NAMES)).split())
_NUMBERED = "no nos art p pp fig figs eq eqs sec ch"
_BEFORE_NUMBERS = frozenset(_NUMBERED.split())


def split_sentences(text: str) -> list[str]:
    """The sentences of `text`; joined, they are the text.

    White space between two sentences begins the second, as byte-level tokenizers want it.
    """
    sentences: list[str] = []
    begin = 0
    for stop in _STOP.finditer(text):
        if stop.end() < len(text) and _is_end(text, stop):
            sentences.append(text[begin : stop.end()])
            begin = stop.end()
    rest = text[begin:]
    if sentences and not rest.strip():
        sentences[-1] += rest
    elif rest:
        sentences.append(rest)
    return sentences


def _is_end(text: str, stop: re.Match[str]) -> bool:
    """Whether a sentence ends with the marks `stop`."""
    marks = stop.group()
    if any(mark in _CHINESE for mark in marks):
        return True
    following = _NEXT.match(text, stop.end())
    assert following is not None, "matches the empty text too"
    space, letter = following.groups()
    if not space:
        return _between_hanzi(text, stop)
    if letter.islower():
        return False
    return marks[0] != "." or marks.startswith("..") or not _abbreviates(text, stop, letter)


def _between_hanzi(text: str, stop: re.Match[str]) -> bool:
    """Chinese typed with Western marks."""
    around = text[max(0, stop.start() - 1) : stop.start()] + text[stop.end()]
    return re.fullmatch(f"[{_HANZI}]{{2}}", around) is not None


def _abbreviates(text: str, stop: re.Match[str], letter: str) -> bool:
    """Whether the point belongs to the word before it, and the sentence goes on with `letter`."""
    word = _WORD.search(text[max(0, stop.start() - _LONGEST_WORD) : stop.start()])
    if word is None:
        return False
    before = word.group().lower()
    if before in _BEFORE_NUMBERS:
        return letter.isdigit()
    if before in _ABBREVIATIONS:
        return True
    # "J. Smith", "U.S. Army", "e.g. Paris"; a single capital may end a sentence too, more rarely.
    several = len(before) > 1 or word.group().isupper()
    return several and _INITIALS.fullmatch(before) is not None
