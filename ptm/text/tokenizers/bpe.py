"""GPT-2's byte-pair encoding of bytes: `vocab.json`, `merges.txt` (Radford et al. 2019)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from ptm.errors import UserError
from ptm.text.tokenizers.base import TokenizerConfig
from ptm.text.tokenizers.specials import ROBERTA_SPECIALS
from ptm.text.vocabulary import Vocabulary, lines_of, tokens_of_lines

SPACE = "Ġ"
"""How the byte of a space is written."""
ONE_FOR_ALL = "<|endoftext|>"
"""GPT-2's special token: it begins, ends and pads."""
_VERSION = "#version"


class Bpe(TokenizerConfig):
    """Bytes are merged pair by pair in the order of `merges.txt`: no text is unknown."""

    FILES: ClassVar[tuple[str, ...]] = ("vocab", "merges")
    SPECIALS: ClassVar[Mapping[str, str]] = ROBERTA_SPECIALS
    WORD_MARK: ClassVar[str | None] = SPACE

    type: Literal["bpe"]
    vocab: str
    """Path of `vocab.json` (token to id), or of the tokens, one a line."""
    merges: str
    """Path of `merges.txt`, one pair a line."""
    lowercase: bool = False
    prefix_space: bool = False
    """Whether a text begins as if a space stood before it."""

    def read(self) -> Vocabulary:
        """The tokens by id, found to be what the merges make."""
        tokens = _read_tokens(self.vocab)
        vocabulary = Vocabulary(
            tokens=tokens,
            specials={**self._usual_specials(tokens), **self._named_specials()},
            source=self.vocab,
        )
        # Read for its refusals: what it returns is read again where the pipeline is built.
        read_merges(self.merges, vocabulary)
        if not set(byte_letters()) <= vocabulary.ids.keys():
            vocabulary.require(("unk",))
        return vocabulary

    def _usual_specials(self, tokens: tuple[str, ...]) -> dict[str, str]:
        """RoBERTa's, or GPT-2's one for all parts, where the vocabulary has that alone."""
        there = set(tokens)
        if ONE_FOR_ALL not in there or there & {self.SPECIALS["cls"], self.SPECIALS["sep"]}:
            return dict(self.SPECIALS)
        return {**self.SPECIALS, **dict.fromkeys(("pad", "unk", "cls", "sep"), ONE_FOR_ALL)}

    def continues_word(self, token: str) -> bool:
        """Words begin with the space before them (Liu et al. 2019, fairseq's whole-word masks)."""
        return not token.startswith(SPACE)

    def text_of(self, token: str) -> str:
        """Its bytes as text; half a character is no text."""
        letters = byte_letters()
        if not set(token) <= letters.keys():
            return token
        return bytes(letters[c] for c in token).decode("utf-8", "ignore").strip()

    def joined(self, tokens: Sequence[str]) -> str:
        """Their bytes together, since a character may have several tokens."""
        letters = byte_letters()
        pieces = (
            bytes(letters[c] for c in token) if set(token) <= letters.keys() else token.encode()
            for token in tokens
        )
        text = b"".join(pieces).decode("utf-8", "replace")
        return text.removeprefix(" ") if self.prefix_space else text

    @property
    def mask_takes_space(self) -> bool:
        """The space is part of the word that was masked, as transformers has it."""
        return True

    def rules(self) -> list[Any]:
        """The merges in order, and what a text begins with."""
        return [lines_of(self.merges), self.prefix_space]

    def backend(self, vocabulary: Vocabulary) -> tokenizers.Tokenizer:
        """GPT-2's pre-tokeniser (its expression, then bytes as letters) around the merges."""
        unknown = vocabulary.specials["unk"]
        tokenizer = tokenizers.Tokenizer(
            models.BPE(
                vocabulary.ids,
                read_merges(self.merges, vocabulary),
                unk_token=unknown if unknown in vocabulary.ids else None,
            )
        )
        if self.lowercase:
            tokenizer.normalizer = normalizers.Lowercase()
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=self.prefix_space)
        tokenizer.decoder = decoders.ByteLevel()
        return tokenizer

    def huggingface_files(self, vocabulary: Vocabulary) -> dict[str, bytes]:
        """`vocab.json` and `merges.txt`."""
        return {
            "vocab.json": json.dumps(vocabulary.ids, ensure_ascii=False).encode("utf-8"),
            "merges.txt": merges_text(read_merges(self.merges, vocabulary)).encode("utf-8"),
        }


def merges_text(merges: Sequence[tuple[str, str]]) -> str:
    """The content of a `merges.txt`."""
    return "".join((f"{_VERSION}: 0.2\n", *(f"{left} {right}\n" for left, right in merges)))


@cache
def byte_letters() -> dict[str, int]:
    """The letter that stands for each byte: itself where it can be printed, else one past 255."""
    printed = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printed]
    letters = {chr(byte): byte for byte in printed}
    return letters | {chr(256 + index): byte for index, byte in enumerate(others)}


def _read_tokens(path: str) -> tuple[str, ...]:
    """The tokens of a `vocab.json`, or of a file with one a line."""
    lines = lines_of(path)
    if Path(path).suffix != ".json" and lines[:1] != ["{"]:
        return tokens_of_lines(lines, path)
    try:
        ids = json.loads("\n".join(lines), object_pairs_hook=lambda pairs: _no_twins(pairs, path))
    except ValueError as error:
        raise UserError(f"{path}: is not JSON ({error}).") from error
    if not isinstance(ids, dict) or not all(type(index) is int for index in ids.values()):
        raise UserError(f'{path}: is no vocabulary such as {{"<s>": 0, "the": 1}}.')
    if not ids:
        raise UserError(f"{path}: the vocabulary is empty.")
    by_id = {index: token for token, index in ids.items()}
    if len(by_id) < len(ids):
        token, index = next((t, i) for t, i in ids.items() if by_id[i] != t)
        raise UserError(f"{path}: {token!r} and {by_id[index]!r} have the same id, {index}.")
    for index in range(len(ids)):
        if index not in by_id:
            raise UserError(
                f"{path}: has {len(ids)} tokens but none with the id {index}: ids must be "
                f"0 to {len(ids) - 1} without a gap."
            )
    return tuple(by_id[index] for index in range(len(ids)))


def _no_twins(pairs: list[tuple[str, Any]], path: str) -> dict[str, Any]:
    """The object of `pairs`, of which JSON would keep the last of two with one key."""
    found: dict[str, Any] = {}
    for token, index in pairs:
        if token in found:
            raise UserError(
                f"{path}: the token {token!r} stands there twice, with the ids {found[token]} "
                f"and {index}; ids would be ambiguous."
            )
        found[token] = index
    return found


def read_merges(path: str, vocabulary: Vocabulary) -> list[tuple[str, str]]:
    """The pairs of a `merges.txt`. Raises UserError naming file and line."""
    merges: list[tuple[str, str]] = []
    ids = vocabulary.ids
    lines = lines_of(path)
    for number, line in enumerate(lines, start=1):
        if not line or (number == 1 and line.startswith(_VERSION)):
            continue
        pair = line.split(" ")
        if len(pair) != 2 or not all(pair):
            raise UserError(
                f'{path}:{number}: "{line}" is no merge: two tokens with one space between them.'
            )
        left, right = pair
        for token in (left, right, left + right):
            if token not in ids:
                raise UserError(
                    f'{path}:{number}: merges "{left}" and "{right}", but {vocabulary.source} has '
                    f'no token "{token}": the two files do not belong together.'
                )
        merges.append((left, right))
    return merges
