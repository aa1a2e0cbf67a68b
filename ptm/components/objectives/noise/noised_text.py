"""What noise does to texts: stretches of them are taken out, one token stands for each.

Everything works on ragged arrays: the tokens of many examples one after another, as in
`ptm.data.examples.Texts`. Randomness is an argument: `keys` (one stream an example), so that the
same example under the same key is noised alike in any batch. Nothing that stands around a text
(start, end) is known here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ptm.arrays import I64, ragged_ranges


@dataclass(frozen=True)
class Noised:
    """What an encoder reads and what a decoder is to give, for E examples.

    `source` (N), `target` (M): tokens, one example after another; `source_lengths`,
    `target_lengths` (E).
    """

    source: I64
    source_lengths: I64
    target: I64
    target_lengths: I64


@dataclass(frozen=True)
class Spans:
    """Stretches of the texts that do not overlap, in order; some may be empty.

    `owner` (S): the example of each; `starts` (S): its first token, counted over all examples;
    `lengths` (S).
    """

    owner: I64
    starts: I64
    lengths: I64

    def counts(self, examples: int) -> I64:
        """Spans of every example (E)."""
        return np.bincount(self.owner, minlength=examples).astype(np.int64)

    def hidden(self, examples: int) -> I64:
        """Tokens in the spans of every example (E)."""
        return np.bincount(self.owner, weights=self.lengths, minlength=examples).astype(np.int64)

    @property
    def tokens(self) -> I64:
        """The places of the tokens in the spans, in order."""
        return ragged_ranges(self.starts, self.lengths)


def replaced(tokens: I64, lengths: I64, spans: Spans, stand_ins: I64) -> tuple[I64, I64]:
    """The texts with one of `stand_ins` (S) in the place of each span, and their lengths (E)."""
    kept = np.ones(tokens.size, dtype=bool)
    kept[spans.tokens] = False
    kept_before = np.concatenate([[0], np.cumsum(kept)])
    source = np.insert(tokens[kept], kept_before[spans.starts], stand_ins)
    examples = lengths.size
    return source, lengths - spans.hidden(examples) + spans.counts(examples)


def noise_tokens(lengths: I64, rate: float) -> I64:
    """How many tokens of each text are noise: `rate`, rounded; one at least, never all (E)."""
    rounded = np.rint(rate * lengths).astype(np.int64)
    return np.asarray(np.minimum(np.maximum(rounded, 1), np.maximum(lengths - 1, 0)))
