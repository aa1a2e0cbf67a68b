"""`ptm vocab compare`: what two vocabularies share, and how they cut a text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from ptm.text.tokenizers import Tokenizer
from ptm.text.vocabulary_training import TrainingText

_LINES_A_CALL = 2000
_EXAMPLES = 8


@dataclass(frozen=True)
class Figures:
    """How a tokenizer cuts a text."""

    characters: int
    tokens: int
    unknown: int

    def story(self) -> dict[str, Any]:
        """As numbers to be shown; characters are those that are no white space."""
        return {
            "characters": self.characters,
            "tokens": self.tokens,
            "tokens_per_character": self.tokens / max(1, self.characters),
            "unknown_rate": self.unknown / max(1, self.tokens),
        }


def compare(first: Tokenizer, second: Tokenizer) -> dict[str, Any]:
    """Sizes, what is shared, and the first tokens that only one has."""
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
    """A few of `tokens` that stand for text."""
    ids = tokenizer.vocabulary.ids
    ordinary = set(tokenizer.vocabulary.ordinary_ids.tolist())
    return list(islice((token for token in tokens if ids[token] in ordinary), _EXAMPLES))


def figures(tokenizers: tuple[Tokenizer, ...], text: TrainingText) -> list[Figures]:
    """How each cuts the text. Raises UserError where there is none."""
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
    return [Figures(characters, t, u) for t, u in zip(tokens, unknown, strict=True)]


def _batches(lines: Iterator[str]) -> Iterator[list[str]]:
    while batch := list(islice(lines, _LINES_A_CALL)):
        yield batch
