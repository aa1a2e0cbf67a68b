"""Rule-based sentence splitting of Chinese and Western text, for `data.sentence_splitting`.

A Chinese sentence ends with 。！？；…, whatever follows; closing quotes and brackets belong to it.
A Western sentence ends with . ! ? if white space follows and then anything but a lowercase letter,
except after a known abbreviation or an initial. Decimals, domain names and ellipses inside a
sentence therefore do not split it.
"""

from __future__ import annotations

import re

_CHINESE = "。｡！？；…"
_CLOSING = "”’」』）》】〉〕\"')\\]}"
_OPENING = "“‘「『（《【〈〔\"'(\\[{"
_HANZI = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"

_STOP = re.compile(rf"[{_CHINESE}.!?]+[{_CLOSING}]*")
_LINE = re.compile(r"(?<=\S)(?=\s*\n\s*\S)")
"""Where white space with a line end begins between two texts."""
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
    """Split `text` into sentences; concatenated, they equal `text`.

    White space between two sentences is put at the start of the second, as byte-level tokenizers
    expect it. A line end ends a sentence.
    """
    if "\n" not in text:
        return _sentences_of_line(text)
    return [sentence for line in _LINE.split(text) for sentence in _sentences_of_line(line)]


def _sentences_of_line(text: str) -> list[str]:
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
    """Whether the punctuation matched by `stop` ends a sentence."""
    marks = stop.group()
    if any(mark in _CHINESE for mark in marks):
        return True
    following = _NEXT.match(text, stop.end())
    assert following is not None, "_NEXT matches the empty string too"
    space, letter = following.groups()
    if not space:
        return _between_hanzi(text, stop)
    if letter.islower():
        return False
    return marks[0] != "." or marks.startswith("..") or not _abbreviates(text, stop, letter)


def _between_hanzi(text: str, stop: re.Match[str]) -> bool:
    """Whether the mark is between two Chinese characters: Chinese typed with Western marks."""
    around = text[max(0, stop.start() - 1) : stop.start()] + text[stop.end()]
    return re.fullmatch(f"[{_HANZI}]{{2}}", around) is not None


def _abbreviates(text: str, stop: re.Match[str], letter: str) -> bool:
    """Whether the period belongs to an abbreviation, so that the sentence continues.

    `letter` is the next character after white space and opening marks.
    """
    word = _WORD.search(text[max(0, stop.start() - _LONGEST_WORD) : stop.start()])
    if word is None:
        return False
    before = word.group().lower()
    if before in _BEFORE_NUMBERS:
        return letter.isdigit()
    if before in _ABBREVIATIONS:
        return True
    # "J. Smith", "U.S. Army", "e.g. Paris". A single capital seldom ends a sentence.
    several = len(before) > 1 or word.group().isupper()
    return several and _INITIALS.fullmatch(before) is not None
