"""GPT-2's byte-level BPE over `vocab.json` and `merges.txt` (Radford et al. 2019)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from ptm.errors import UserError
from ptm.files.user_files import parse_json, read_lines
from ptm.text.tokenizers.base import TokenizerConfig
from ptm.text.tokenizers.gigatoken_encoder import GigatokenEncoder, gigatoken_is_installed
from ptm.text.tokenizers.specials import ROBERTA_SPECIALS
from ptm.text.tokenizers.tokenizer import PipelineEncoder
from ptm.text.vocabulary import Vocabulary, parse_tokens

SPACE = "Ġ"
"""The letter for the byte of a space."""
END_OF_TEXT = "<|endoftext|>"
"""GPT-2's only special token, used as start, end and padding."""
_VERSION = "#version"


class Bpe(TokenizerConfig):
    """Byte-level BPE: bytes are merged pair by pair in the order of `merges.txt`.

    With all 256 bytes in the vocabulary no text is unknown.
    """

    FILES: ClassVar[tuple[str, ...]] = ("vocab", "merges")
    SPECIALS: ClassVar[Mapping[str, str]] = ROBERTA_SPECIALS
    WORD_MARK: ClassVar[str | None] = SPACE

    type: Literal["bpe"]
    vocab: str
    """Path of `vocab.json` (token to id), or of a text file with one token per line."""
    merges: str
    """Path of `merges.txt`, with one pair per line."""
    lowercase: bool = False
    """Whether text is lowercased before it is tokenised."""
    prefix_space: bool = False
    """Whether a text is tokenised as if it started with a space."""

    def read(self) -> Vocabulary:
        tokens = _read_tokens(self.vocab)
        vocabulary = Vocabulary(
            tokens=tokens,
            specials={**self._usual_specials(tokens), **self._named_specials()},
            source=self.vocab,
        )
        # Only to check the merges: `backend` reads them again.
        read_merges(self.merges, vocabulary)
        if not set(byte_letters()) <= vocabulary.ids.keys():
            vocabulary.require(("unk",))
        return vocabulary

    def _usual_specials(self, tokens: tuple[str, ...]) -> dict[str, str]:
        """Default special tokens: RoBERTa's names, or <|endoftext|> for all roles but the mask.

        The latter if the vocabulary has <|endoftext|> but neither <s> nor </s>.
        """
        there = set(tokens)
        if END_OF_TEXT not in there or there & {self.SPECIALS["cls"], self.SPECIALS["sep"]}:
            return dict(self.SPECIALS)
        return {**self.SPECIALS, **dict.fromkeys(("pad", "unk", "cls", "sep"), END_OF_TEXT)}

    def continues_word(self, token: str) -> bool:
        """Whether the token lacks the space mark, as in fairseq's whole-word masking."""
        return not token.startswith(SPACE)

    def text_of(self, token: str) -> str:
        letters = byte_letters()
        if not set(token) <= letters.keys():
            return token
        # Bytes that are only a part of a character are dropped.
        return bytes(letters[c] for c in token).decode("utf-8", "ignore").strip()

    def decode_ordinary(self, tokens: Sequence[str]) -> str:
        # The bytes are concatenated before decoding: a character may span several tokens.
        letters = byte_letters()
        pieces = (
            bytes(letters[c] for c in token) if set(token) <= letters.keys() else token.encode()
            for token in tokens
        )
        text = b"".join(pieces).decode("utf-8", "replace")
        return text.removeprefix(" ") if self.prefix_space else text

    @property
    def mask_takes_space(self) -> bool:
        # As in transformers.
        return True

    def fingerprint_extras(self) -> list[Any]:
        return [read_lines(self.merges), self.prefix_space]

    def encoder(self, vocabulary: Vocabulary) -> PipelineEncoder:
        pipeline = self.backend(vocabulary)
        # gigatoken knows no unknown token, and its lowercasing was not compared.
        usable = not self.lowercase and set(byte_letters()) <= vocabulary.ids.keys()
        if usable and gigatoken_is_installed():
            return GigatokenEncoder(pipeline)
        return PipelineEncoder(pipeline)

    def backend(self, vocabulary: Vocabulary) -> tokenizers.Tokenizer:
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
        return {
            "vocab.json": json.dumps(vocabulary.ids, ensure_ascii=False).encode("utf-8"),
            "merges.txt": merges_text(read_merges(self.merges, vocabulary)).encode("utf-8"),
        }


def merges_text(merges: Sequence[tuple[str, str]]) -> str:
    """Write `merges` as the content of a `merges.txt`."""
    return "".join((f"{_VERSION}: 0.2\n", *(f"{left} {right}\n" for left, right in merges)))


@cache
def byte_letters() -> dict[str, int]:
    """Letter to byte: printable bytes are their own letter, the others start at U+0100."""
    printed = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printed]
    letters = {chr(byte): byte for byte in printed}
    return letters | {chr(256 + index): byte for index, byte in enumerate(others)}


def _read_tokens(path: str) -> tuple[str, ...]:
    """Read the tokens of a `vocab.json`, or of a text file with one token per line."""
    lines = read_lines(path)
    if Path(path).suffix != ".json" and lines[:1] != ["{"]:
        return parse_tokens(lines, path)
    ids = parse_json(
        "\n".join(lines), name=path, pairs=lambda pairs: _reject_duplicate_keys(pairs, path)
    )
    if not isinstance(ids, dict) or not all(type(index) is int for index in ids.values()):
        raise UserError(
            f'{path}: the file is not a map of tokens to ids such as {{"<s>": 0, "the": 1}}.'
        )
    if not ids:
        raise UserError(f"{path}: the vocabulary is empty.")
    by_id = {index: token for token, index in ids.items()}
    if len(by_id) < len(ids):
        token, index = next((t, i) for t, i in ids.items() if by_id[i] != t)
        raise UserError(f"{path}: {token!r} and {by_id[index]!r} have the same id, {index}.")
    for index in range(len(ids)):
        if index not in by_id:
            raise UserError(
                f"{path}: no token has id {index}. The ids of {len(ids)} tokens must be "
                f"0 to {len(ids) - 1} without gaps."
            )
    return tuple(by_id[index] for index in range(len(ids)))


def _reject_duplicate_keys(pairs: list[tuple[str, Any]], path: str) -> dict[str, Any]:
    """`dict(pairs)`, but a duplicate key raises UserError; `json` would keep the last silently."""
    found: dict[str, Any] = {}
    for token, index in pairs:
        if token in found:
            raise UserError(
                f"{path}: the token {token!r} occurs twice, with ids {found[token]} and {index}. "
                "Token ids would be ambiguous: remove one of the two entries."
            )
        found[token] = index
    return found


def read_merges(path: str, vocabulary: Vocabulary) -> list[tuple[str, str]]:
    """Read the pairs of a `merges.txt`.

    Raises UserError, naming file and line, if a line is not a pair or a token of a merge is not in
    `vocabulary`.
    """
    merges: list[tuple[str, str]] = []
    ids = vocabulary.ids
    lines = read_lines(path)
    for number, line in enumerate(lines, start=1):
        if not line or (number == 1 and line.startswith(_VERSION)):
            continue
        pair = line.split(" ")
        if len(pair) != 2 or not all(pair):
            raise UserError(
                f'{path}:{number}: "{line}" is not a merge, i.e. two tokens separated by one space.'
            )
        left, right = pair
        for token in (left, right, left + right):
            if token not in ids:
                raise UserError(
                    f'{path}:{number}: the merge of "{left}" and "{right}" needs the token '
                    f'"{token}", which {vocabulary.source} does not have. The two files do not '
                    "belong together."
                )
        merges.append((left, right))
    return merges
