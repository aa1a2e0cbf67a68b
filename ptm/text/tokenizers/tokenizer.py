"""A loaded tokenizer: text to ids and back."""

from __future__ import annotations

import hashlib
import json
import re
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import tokenizers
from numpy.typing import NDArray

from ptm.arrays import I64, exclusive_cumsum
from ptm.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from ptm.text.tokenizers.base import TokenizerConfig

Offsets = list[tuple[int, int]]


class TokenEncoder(Protocol):
    """Turns text into ids. Special tokens are neither added nor recognised in the text.

    Shape letters of the arrays: S texts, T tokens of all texts, one text after another.
    """

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text."""

    @abstractmethod
    def encode_with_offsets(self, texts: Sequence[str]) -> list[tuple[list[int], Offsets]]:
        """Ids of each text, and for each id its character range [start, end) in the text."""

    def encode_arrays(self, texts: Sequence[str]) -> tuple[NDArray[Any], I64]:
        """Ids (T), and the number of tokens per text (S). For many texts."""
        return concatenate_ids(self.encode(texts))

    def encode_arrays_with_starts(self, texts: Sequence[str]) -> tuple[NDArray[Any], I64, I64]:
        """As `encode_arrays`, and each token's first character (T).

        It is an index into the texts joined by newlines. An implied piece, such as a `▁` in front
        of a text, may have an offset past the last character: it starts at the last character.
        """
        found = self.encode_with_offsets(texts)
        ids, lengths = concatenate_ids([ids for ids, _ in found])
        offsets = [begin for _, ranges in found for begin, _ in ranges]
        sizes = np.fromiter(map(len, texts), np.int64, len(texts))
        first = exclusive_cumsum(sizes + 1)
        starts = np.repeat(first, lengths) + np.array(offsets, dtype=np.int64)
        return ids, lengths, np.minimum(starts, np.repeat(first + sizes - 1, lengths))


def concatenate_ids(encoded: Sequence[list[int]]) -> tuple[NDArray[np.uint32], I64]:
    """The ids of all texts (T), and their number per text (S)."""
    lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
    ids = np.fromiter(chain.from_iterable(encoded), np.uint32, int(lengths.sum()))
    return ids, lengths


@runtime_checkable
class RecognisingEncoder(TokenEncoder, Protocol):
    """An encoder with rules of its own for special tokens that a text may contain."""

    def encode_recognising(self, text: str, tokens: frozenset[str]) -> list[int]:
        """Ids of the text, in which special `tokens` are recognised; none are added."""


@dataclass(frozen=True)
class PipelineEncoder(TokenEncoder):
    """Encodes with a pipeline of the `tokenizers` library."""

    pipeline: tokenizers.Tokenizer

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        encodings = self.pipeline.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def encode_with_offsets(self, texts: Sequence[str]) -> list[tuple[list[int], Offsets]]:
        encodings = self.pipeline.encode_batch(list(texts), add_special_tokens=False)
        return [(encoding.ids, encoding.offsets) for encoding in encodings]


@dataclass(frozen=True)
class Tokenizer:
    """A tokenizer with its vocabulary: encodes text to ids and decodes ids to text."""

    config: TokenizerConfig
    vocabulary: Vocabulary
    encoder: TokenEncoder

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all that determines ids: type, lowercase, special tokens, vocabulary, rules."""
        parts: list[Any] = [
            self.config.type,
            self.config.lowercase,
            sorted(self.vocabulary.specials.items()),
            self.vocabulary.tokens,
        ]
        rules = self.config.fingerprint_extras()
        text = json.dumps([*parts, rules] if rules else parts, ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    @cached_property
    def continuations(self) -> NDArray[np.bool_]:
        """Whether each token can only be inside a word (V), indexed by id."""
        return np.array([self.config.continues_word(t) for t in self.vocabulary.tokens], dtype=bool)

    @cached_property
    def bare_marks(self) -> NDArray[np.bool_]:
        """Whether each token is the bare word mark, without text (V), indexed by id."""
        return np.array([t == self.config.WORD_MARK for t in self.vocabulary.tokens], dtype=bool)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text. No special tokens are added; those in the text are plain text."""
        return self.encoder.encode(texts)

    def encode_with_offsets(self, texts: Sequence[str]) -> list[tuple[list[int], Offsets]]:
        """Ids of each text, and for each id its character range [start, end) in the text."""
        return self.encoder.encode_with_offsets(texts)

    def encode_arrays(self, texts: Sequence[str]) -> tuple[NDArray[Any], I64]:
        """Ids of all texts, one text after another (T), and the number of tokens per text (S)."""
        return self.encoder.encode_arrays(texts)

    def encode_arrays_with_starts(self, texts: Sequence[str]) -> tuple[NDArray[Any], I64, I64]:
        """As `encode_arrays`, and each token's first character in `"\\n".join(texts)` (T)."""
        return self.encoder.encode_arrays_with_starts(texts)

    def encode_with_masks(self, text: str) -> list[int]:
        """Ids of `[CLS] text [SEP]`, with mask tokens in the text recognised.

        [CLS] is omitted if the vocabulary lacks it; without [MASK] the text is all plain text.
        """
        vocabulary = self.vocabulary
        ids = [vocabulary.special_id("cls")] if vocabulary.has("cls") else []
        return [*ids, *self._encode_masked(text), vocabulary.special_id("sep")]

    def _encode_masked(self, text: str) -> list[int]:
        if not self.vocabulary.has("mask"):
            return self.encode([text])[0]
        mask = self.vocabulary.special_token("mask")
        if isinstance(self.encoder, RecognisingEncoder):
            return self.encoder.encode_recognising(text, frozenset([mask]))
        parts = text.split(mask)
        if self.config.mask_takes_space:
            parts = [part.rstrip() for part in parts[:-1]] + parts[-1:]
        first, *others = self.encode(parts)
        return [*first, *(i for ids in others for i in (self.vocabulary.ids[mask], *ids))]

    def encode_with_specials(self, text: str) -> list[int]:
        """Ids of the text, with special tokens and sentinels in it recognised; none are added."""
        vocabulary = self.vocabulary
        special = {*vocabulary.specials.values(), *vocabulary.reserved} & vocabulary.ids.keys()
        special |= {vocabulary.tokens[token] for token in vocabulary.sentinels.tolist()}
        if isinstance(self.encoder, RecognisingEncoder):
            return self.encoder.encode_recognising(text, frozenset(special))
        known = sorted(special, key=len, reverse=True)
        parts = re.split(f"({'|'.join(map(self._pattern, known))})", text) if known else [text]
        ids: list[int] = []
        for part in parts:
            token = part.lstrip()
            if token in special:
                ids.append(self.vocabulary.ids[token])
            elif part:
                ids += self.encode([part])[0]
        return ids

    def _pattern(self, token: str) -> str:
        """The regular expression of a special token, with the space that belongs to it."""
        takes_space = self.config.mask_takes_space and token == self.vocabulary.special_token(
            "mask"
        )
        return (r"\s*" if takes_space else "") + re.escape(token)

    def decode(self, ids: Sequence[int]) -> str:
        """Decode `ids` to text. Special tokens are written out, e.g. `[MASK]`."""
        special, tokens = self.vocabulary.is_special, self.vocabulary.tokens
        text, ordinary = "", list[str]()
        for token in ids:
            if not special[token]:
                ordinary.append(tokens[token])
                continue
            text, ordinary = text + self.config.decode_ordinary(ordinary) + tokens[token], []
        return text + self.config.decode_ordinary(ordinary)
