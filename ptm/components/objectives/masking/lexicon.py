"""A file of phrases, read with the tokenizer of a recipe."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ptm.arrays import Flags
from ptm.components.objectives.masking.grouping import PhraseTrie
from ptm.errors import UserError
from ptm.text.tokenizers import Tokenizer

logger = logging.getLogger(__name__)

_LINES_SHOWN = 3


@dataclass(frozen=True, eq=False)
class Lexicon:
    """Phrases as ids. `continuations`, by id: whether a token can only stand inside a word."""

    phrases: PhraseTrie
    continuations: Flags

    @property
    def fingerprint(self) -> str:
        """Changes with the set of phrases."""
        return self.phrases.fingerprint


def read_lexicon(path: str, tokenizer: Tokenizer) -> Lexicon:
    """The phrases of two or more tokens among the lines of `path`.

    A phrase counts as it is tokenised at the beginning of a text, after a space and after a comma,
    which some tokenizers tell apart. Raises UserError where no line is of use.
    """
    lines = [line.strip() for line in _text(path).split("\n")]
    phrases = list(dict.fromkeys(line for line in lines if line))
    if not phrases:
        raise UserError(f"{path}: the lexicon is empty; it should have one phrase a line.")
    vocabulary = tokenizer.vocabulary
    usable: list[list[int]] = []
    unknown = single = 0
    for forms in _forms(phrases, tokenizer):
        known = [ids for ids in forms if not vocabulary.is_special[ids].any()]
        whole = [ids for ids in known if len(ids) > 1]
        unknown += not known
        single += bool(known) and not whole
        usable += whole
    if not usable:
        shown = ", ".join(f'"{phrase}"' for phrase in phrases[:_LINES_SHOWN])
        raise UserError(
            f"{path}: a lexicon with no usable phrase. It begins with {shown}; of {len(phrases)} "
            f"phrases {unknown} have tokens that {vocabulary.source} does not know, and {single} "
            "are one token. It should have one phrase of two or more known tokens a line."
        )
    logger.info(
        "%s: %d of %d phrases can be masked; %d have unknown tokens, %d are one token",
        path,
        len(phrases) - unknown - single,
        len(phrases),
        unknown,
        single,
    )
    return Lexicon(PhraseTrie.of(usable, vocabulary.size), np.asarray(tokenizer.continuations))


def _forms(phrases: list[str], tokenizer: Tokenizer) -> Iterator[tuple[list[int], ...]]:
    """The ids of each phrase, in all the ways that it may stand in a text."""
    after_space = tokenizer.encode([f" {phrase}" for phrase in phrases])
    after_comma = tokenizer.encode_with_offsets([f",{phrase}" for phrase in phrases])
    alone = tokenizer.encode(phrases)
    for first, second, (ids, offsets) in zip(alone, after_space, after_comma, strict=True):
        begins = [begin for begin, _ in offsets]
        inside = ids[begins.index(1) :] if 1 in begins else first
        yield first, second, inside


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be read as a lexicon: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text at byte {error.start}.") from error
