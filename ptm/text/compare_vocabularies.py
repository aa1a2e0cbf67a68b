"""`ptm vocab compare`: the overlap of two vocabularies, and how they tokenise a text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from ptm.text.tokenizers import Tokenizer
from ptm.text.vocabulary_training import TrainingText

_LINES_PER_CALL = 2000
_EXAMPLES = 8


@dataclass(frozen=True)
class Coverage:
    """Counts over one text, tokenised by one tokenizer."""

    characters: int
    """Characters of the text that are not white space."""
    tokens: int
    unknown: int
    """How many of the tokens are the unknown token."""

    def summary(self) -> dict[str, Any]:
        """The counts and their ratios, as a dict to print."""
        return {
            "characters": self.characters,
            "tokens": self.tokens,
            "tokens_per_character": self.tokens / max(1, self.characters),
            "unknown_rate": self.unknown / max(1, self.tokens),
        }


def compare(first: Tokenizer, second: Tokenizer) -> dict[str, Any]:
    """Compare the tokens of two vocabularies.

    Returns `sizes` (of both), `shared` (tokens in both), `same_id` (shared tokens with equal ids),
    `only` (the number of tokens that are in one vocabulary alone, for each) and `examples` (a few
    of these tokens for each vocabulary, without special tokens).
    """
    a, b = first.vocabulary.ids, second.vocabulary.ids
    only_a = [token for token in a if token not in b]
    only_b = [token for token in b if token not in a]
    return {
        "sizes": [len(a), len(b)],
        "shared": len(a) - len(only_a),
        "same_id": sum(b.get(token) == index for token, index in a.items()),
        "only": [len(only_a), len(only_b)],
        "examples": [_ordinary(first, only_a), _ordinary(second, only_b)],
    }


def _ordinary(tokenizer: Tokenizer, tokens: list[str]) -> list[str]:
    """The first few of `tokens` that are ordinary text, not special tokens."""
    ids = tokenizer.vocabulary.ids
    ordinary = set(tokenizer.vocabulary.ordinary_ids.tolist())
    return list(islice((token for token in tokens if ids[token] in ordinary), _EXAMPLES))


def coverage(tokenizers: tuple[Tokenizer, ...], text: TrainingText) -> list[Coverage]:
    """Tokenise `text` with each tokenizer and count. Raises UserError if there is no text."""
    characters = 0
    tokens, unknown = [0] * len(tokenizers), [0] * len(tokenizers)
    for lines in _batches(text.lines()):
        characters += sum(len("".join(line.split())) for line in lines)
        for index, tokenizer in enumerate(tokenizers):
            vocabulary = tokenizer.vocabulary
            unk = vocabulary.ids.get(vocabulary.specials["unk"], -1)
            for ids in tokenizer.encode(lines):
                tokens[index] += len(ids)
                unknown[index] += ids.count(unk)
    return [Coverage(characters, t, u) for t, u in zip(tokens, unknown, strict=True)]


def _batches(lines: Iterator[str]) -> Iterator[list[str]]:
    while batch := list(islice(lines, _LINES_PER_CALL)):
        yield batch
