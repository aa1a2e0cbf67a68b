"""Reads a file of phrases and tokenises them with the recipe's tokenizer."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ptm.arrays import Flags
from ptm.components.objectives.masking.grouping import PhraseTrie
from ptm.errors import UserError
from ptm.files.user_files import read_lines
from ptm.text.tokenizers import Tokenizer

logger = logging.getLogger(__name__)

_LINES_SHOWN = 3


@dataclass(frozen=True, eq=False)
class Lexicon:
    """The phrases of a file as token ids."""

    phrases: PhraseTrie
    continuations: Flags
    """Whether each token of the vocabulary can only continue a word, by token id (V)."""

    @property
    def fingerprint(self) -> str:
        """A hash of the set of phrases."""
        return self.phrases.fingerprint


def read_lexicon(path: str, tokenizer: Tokenizer) -> Lexicon:
    """Read the phrases of `path`, one per line, that have two or more known tokens.

    A phrase is matched as it is tokenised at the beginning of a text, after a space and after a
    comma, which differ in some tokenizers. Raises UserError if the file cannot be read or has no
    usable phrase.
    """
    lines = [line.strip() for line in read_lines(path)]
    phrases = list(dict.fromkeys(line for line in lines if line))
    if not phrases:
        raise UserError(f"{path}: the lexicon is empty. Write one phrase per line.")
    vocabulary = tokenizer.vocabulary
    usable: list[list[int]] = []
    unknown = single = 0
    for forms in _encodings(phrases, tokenizer):
        known = [ids for ids in forms if not vocabulary.is_special[ids].any()]
        whole = [ids for ids in known if len(ids) > 1]
        unknown += not known
        single += bool(known) and not whole
        usable += whole
    if not usable:
        shown = ", ".join(f'"{phrase}"' for phrase in phrases[:_LINES_SHOWN])
        raise UserError(
            f"{path}: the lexicon has no usable phrase. Phrases: {len(phrases)} (the first: "
            f"{shown}); phrases with tokens that are not in {vocabulary.source}: {unknown}; "
            f"phrases of a single token: {single}. Write one phrase of two or more known tokens "
            "per line."
        )
    logger.info(
        "%s: usable phrases: %d of %d; phrases with unknown tokens: %d; phrases of a single "
        "token: %d",
        path,
        len(phrases) - unknown - single,
        len(phrases),
        unknown,
        single,
    )
    return Lexicon(PhraseTrie.of(usable, vocabulary.size), np.asarray(tokenizer.continuations))


def _encodings(phrases: list[str], tokenizer: Tokenizer) -> Iterator[tuple[list[int], ...]]:
    """Yield the ids of each phrase at the beginning of a text, after a space and after a comma."""
    after_space = tokenizer.encode([f" {phrase}" for phrase in phrases])
    after_comma = tokenizer.encode_with_offsets([f",{phrase}" for phrase in phrases])
    alone = tokenizer.encode(phrases)
    for first, second, (ids, offsets) in zip(alone, after_space, after_comma, strict=True):
        # Drop the tokens of the comma, unless one token holds it and the phrase's first character.
        begins = [begin for begin, _ in offsets]
        inside = ids[begins.index(1) :] if 1 in begins else first
        yield first, second, inside
