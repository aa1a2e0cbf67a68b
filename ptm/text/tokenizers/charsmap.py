"""SentencePiece's normalisation maps as steps of the `tokenizers` library.

SentencePiece replaces the longest key of its map at each place of a text. The library's
Precompiled looks at one character with its combining marks at a time, and takes the shortest key.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2
from tokenizers import Regex, normalizers

_BREAK = "\U000ffffe"
_BLOCK = "\U000fffff"
_PLACEHOLDER = 0xF0000
"""First of the private characters that stand for what Precompiled would map again.

Texts contain neither these nor `_BREAK` and `_BLOCK`, which are no characters.
"""
_MOST_TARGETS = 64
_COMBINED = (
    "e\u0301",
    "a\u0323\u0302",
    "\u1112\u1161\u11ab",
    "か\u3099",
    "ﬁ\u0301",
    "fi",
    "--",
    "``",
)
_UNKNOWN = 2
_LABEL = np.uint32(0x800000FF)
"""The bits of a unit that hold its byte. A unit with its highest bit set is a value."""


@lru_cache(maxsize=2)
def mapping_steps(charsmap: bytes) -> tuple[normalizers.Normalizer, ...]:
    """Normalizers that map text as `charsmap` does (see `first_mapped_otherwise`)."""
    if not charsmap:
        return ()
    precompiled = normalizers.Precompiled(charsmap)
    # The library maps a letter together with its combining marks, and drops the marks if the map
    # does not contain the combination. A character between them makes it map each by itself. NFC
    # composes the results, but not a mark after a character that became several (a ligature) or
    # none: _BLOCK stays between them.
    blocks = []
    if expanded := "".join(map(re.escape, _expanded(charsmap))):
        blocks = [normalizers.Replace(Regex(rf"(?<=[{expanded}])(?=\p{{M}})"), _BLOCK)]
    breaks = normalizers.Replace(Regex(r"(?<=.)(?=[\p{M}\x{200c}\x{200d}])"), _BREAK)
    composing = (
        normalizers.NFC(),
        *blocks,
        breaks,
        precompiled,
        normalizers.Replace(_BREAK, ""),
        normalizers.NFC(),
        normalizers.Replace(_BLOCK, ""),
    )
    either = [(list(_mapped_otherwise(charsmap, s)), s) for s in ((precompiled,), composing)]
    differing, steps = min(either, key=lambda found: len(found[0]))
    others = defaultdict(list)
    for text, target in differing:
        others[target].append(text)
    if len(others) > _MOST_TARGETS:
        return steps
    hidden, shown = [], []
    # Longer texts first: they may contain shorter ones.
    for number, target in enumerate(sorted(others, key=lambda t: max(map(len, others[t])))[::-1]):
        placeholder = chr(_PLACEHOLDER + number)
        texts = sorted(others[target], key=len, reverse=True)
        pattern = "|".join(map(re.escape, texts))
        hidden.append(normalizers.Replace(Regex(pattern), placeholder))
        shown.append(normalizers.Replace(placeholder, target))
    return (*hidden, *steps, *shown)


@lru_cache(maxsize=2)
def first_mapped_otherwise(charsmap: bytes) -> str | None:
    """The first text of several characters that `mapping_steps` map in another way; None if none.

    Not compared: what NFC composes or sorts but no map of SentencePiece contains, which are Hangul
    syllables followed by a final consonant and marks in another order than Unicode's canonical one.
    """
    if not charsmap:
        return None
    differing = _mapped_otherwise(charsmap, mapping_steps(charsmap))
    return next((text for text, _ in differing), None)


def _mapped_otherwise(
    charsmap: bytes, steps: Sequence[normalizers.Normalizer]
) -> Iterator[tuple[str, str]]:
    """The texts of several characters that `steps` map in another way, and what they become."""
    normalizer, package = normalizers.Sequence(list(steps)), _package(charsmap)
    texts = [*composed_texts(charsmap), *_COMBINED]
    for text, target in zip(texts, package.normalize(texts), strict=True):
        if normalizer.normalize_str(text) != target:
            yield text, target


def _package(charsmap: bytes) -> SentencePieceProcessor:
    """A model of the `sentencepiece` package that only maps."""
    model = sentencepiece_model_pb2.ModelProto()
    model.pieces.add(piece="<unk>", score=0.0, type=_UNKNOWN)
    model.pieces.add(piece="a", score=0.0)
    spec = model.normalizer_spec
    spec.precompiled_charsmap = charsmap
    spec.add_dummy_prefix = spec.remove_extra_whitespaces = spec.escape_whitespaces = False
    return SentencePieceProcessor(model_proto=model.SerializeToString())


def composed_texts(charsmap: bytes) -> tuple[str, ...]:
    """The texts of several characters that a normalisation map replaces as a whole."""
    return tuple(text for text in _keys(charsmap) if len(text) > 1)


def _expanded(charsmap: bytes) -> list[str]:
    """The characters that the map replaces by several, or by none."""
    single = [text for text in _keys(charsmap) if len(text) == 1]
    mapped = _package(charsmap).normalize(single)
    return [text for text, target in zip(single, mapped, strict=True) if len(target) != 1]


@lru_cache(maxsize=2)
def _keys(charsmap: bytes) -> tuple[str, ...]:
    """The texts that a normalisation map replaces.

    The map starts with the size of a double-array trie (Darts-clone) over UTF-8 bytes; its units
    follow. All keys are found at once, byte by byte, level by level.
    """
    if not charsmap:
        return ()
    size = int.from_bytes(charsmap[:4], "little")
    units = np.frombuffer(charsmap[4 : 4 + size], dtype="<u4")
    # The nodes of a level, as the place that their children's bytes are combined with, and the
    # bytes that lead to each (D).
    nodes, keys = _children(units, np.zeros(1, dtype=np.int64)), [b""]
    found: list[bytes] = []
    while keys:
        reached, longer = [], list[bytes]()
        for byte in range(1, 256):
            places = nodes ^ byte
            labels = units[np.minimum(places, len(units) - 1)] & _LABEL
            rows = np.flatnonzero((places < len(units)) & (labels == byte))
            reached.append(places[rows])
            longer += [keys[row] + bytes([byte]) for row in rows.tolist()]
        children = np.concatenate(reached)
        ends = np.flatnonzero((units[children] >> 8) & 1)
        found += [longer[index] for index in ends.tolist()]
        nodes, keys = _children(units, children), longer
    return tuple(key.decode("utf-8", "ignore") for key in found)


def _children(units: NDArray[np.uint32], places: NDArray[np.int64]) -> NDArray[np.int64]:
    """The place that a child's byte is combined with, for each unit."""
    chosen = units[places].astype(np.int64)
    return places ^ ((chosen >> 10) << ((chosen & (1 << 9)) >> 6))
