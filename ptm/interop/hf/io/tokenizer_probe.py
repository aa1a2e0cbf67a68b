"""Comparing the ids of a tokenizer with those of a pipeline of the `tokenizers` library."""

from __future__ import annotations

from collections.abc import Sequence

import tokenizers

from ptm.text.tokenizers import Tokenizer
from ptm.text.tokenizers.pipeline_file import PipelineFile

_ENTRIES = 2000
"""Entries of the vocabulary that are compared, evenly spread."""
_SPECIALS = 64
_WORDS = "incomprehensibilitiesofphotosynthesizingmicroorganismsandextraterrestrial"
_PROBES = (
    "Hello World, it's the naïve café’s 3,456 Übungen! DON'T WE'LL",
    "0 1 12 123 1234 12345 007 3.14 1,000,000 2024-11-29 ½ ² ①",
    "天气预报：今天ＡＢＣ晴，最高２０度。中文English混排。𠮷野家、〇",
    "ひらがな カタカナ 한국어 ภาษาไทย བོད་ཡིག हिन्दी",
    "Русский язык Ελληνικά Σίσυφος עברית العَرَبِيَّة Tiếng Việt İstanbul ǅ ß ŒUVRE",
    "``two'' --  spaces\tand tabs ",
    "  leading and trailing   ",
    "\u00a0no-break\u3000ideographic\u2003em\u200bzero\u200d\ufeff soft\u00adhyphen",
    "e\u0301 n\u0303 A\u030a 의 \u1112\u1161\u11ab ﬁ ㎏ ﷺ",
    "表情😀👍🏽👨‍👩‍👧 ★♥→∑ and a_long-hyphenated.word user@mail.org http://a.b/c?d=e#f",
    "[CLS] [MASK] </s> <mask> <s> <unk> <pad> <|endoftext|> <extra_id_0> [unused1]",
    "<0x0A> <0xE4> ## ##ing ▁ Ġ </w> <tool_call> \\n {x} $5 100% a=b;",
    "one\ntwo\n\nthree\r\nfour",
    "control\x07 and \x01 characters\x7f",
    f"{_WORDS} {_WORDS}{_WORDS[::-1]}",
    "",
    " ",
)


def probes(tokenizer: Tokenizer) -> list[str]:
    """Texts of many scripts, spaces and digits, and the text of the vocabulary's own entries.

    They contain none of the tokenizer's special tokens.
    """
    vocabulary = tokenizer.vocabulary
    ordinary = vocabulary.ordinary_ids
    chosen = ordinary[:: max(1, len(ordinary) // _ENTRIES)].tolist()
    entries = [tokenizer.config.text_of(vocabulary.tokens[index]) for index in chosen]
    special = _special_tokens(tokenizer)
    lines = [" ".join(w for w in line.split(" ") if w not in special) for line in _PROBES]
    texts = [*lines, *entries, *tokenizer.config.probes]
    return [text for text in texts if not any(token in text for token in special)]


def first_difference(
    tokenizer: Tokenizer,
    other: tokenizers.Tokenizer,
    texts: Sequence[str],
    *,
    in_any_order: bool = False,
) -> str | None:
    """A phrase for messages: the first of `texts` that gets other ids; None if all are equal.

    `other` must read special tokens in a text as plain text. `in_any_order`: the same ids in
    another order are equal, because the library chooses another one of several segmentations that
    are equally likely under a SentencePiece model.
    """
    found = other.encode_batch(list(texts), add_special_tokens=False)
    for text, ours, theirs in zip(texts, tokenizer.encode(texts), found, strict=True):
        same = sorted(ours) == sorted(theirs.ids) if in_any_order else ours == theirs.ids
        if not same:
            return f"{text!r} becomes {_from_difference(tokenizer, ours, other, theirs.ids)}"
    return None


def same_around_specials(tokenizer: Tokenizer, other: PipelineFile) -> bool:
    """Whether both give the same ids to texts with a special token between two words.

    The flags of a special token decide whether the spaces beside it belong to it.
    """
    ids = tokenizer.vocabulary.ids
    special = [token["content"] for token in other.added if token["special"]]
    texts = [f"hello {token} world" for token in special[:_SPECIALS] if token in ids]
    found = other.pipeline().encode_batch(texts, add_special_tokens=False)
    return all(
        tokenizer.encode_with_specials(text) == theirs.ids
        for text, theirs in zip(texts, found, strict=True)
    )


def _from_difference(
    tokenizer: Tokenizer, ours: list[int], other: tokenizers.Tokenizer, theirs: list[int]
) -> str:
    """Both sequences of tokens from their first different one on."""
    pairs = enumerate(zip(ours, theirs, strict=False))
    start = next((i for i, (a, b) in pairs if a != b), min(len(ours), len(theirs)))
    shown = [other.id_to_token(index) for index in theirs[start : start + 4]]
    mine = [tokenizer.vocabulary.tokens[index] for index in ours[start : start + 4]]
    after = f" after {start} equal tokens" if start else ""
    return (
        f"{shown} … (ids {theirs[start : start + 4]}) there, but {mine} … (ids "
        f"{ours[start : start + 4]}) in ptm{after}"
    )


def special_in_text(tokenizer: Tokenizer) -> str | None:
    """The first special token that text can be tokenised to; None if no text is.

    The unknown token is not counted.
    """
    vocabulary = tokenizer.vocabulary
    special = sorted(_special_tokens(tokenizer))[:_SPECIALS]
    ids = {vocabulary.ids[token] for token in special}
    ids -= {vocabulary.ids.get(vocabulary.special_token("unk"), -1)}
    texts = [text for token in special for text in (token, f"a {token} b")]
    for found in tokenizer.encode(texts):
        if ids & set(found):
            return vocabulary.tokens[min(ids & set(found))]
    return None


def _special_tokens(tokenizer: Tokenizer) -> set[str]:
    vocabulary = tokenizer.vocabulary
    sentinels = {vocabulary.tokens[index] for index in vocabulary.sentinels}
    named = {*vocabulary.specials.values(), *vocabulary.reserved, *sentinels}
    return {token for token in named if token in vocabulary.ids}
