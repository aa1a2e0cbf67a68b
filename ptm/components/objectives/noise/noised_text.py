"""Texts with noise: spans of tokens are removed, and one token replaces each span.

All functions work on ragged arrays: the tokens of many examples one after another, as in
`ptm.data.examples.TokenSpans`. Randomness is an argument: `keys` (one stream per example), so that
an example with a given key is noised alike in any batch. Start and end tokens are added later.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ptm.arrays import I64, ragged_ranges


@dataclass(frozen=True)
class NoisedTexts:
    """Source (encoder input) and target (decoder output) of E examples.

    `source` (N), `target` (M): tokens, one example after another; `source_lengths`,
    `target_lengths` (E).
    """

    source: I64
    source_lengths: I64
    target: I64
    target_lengths: I64


@dataclass(frozen=True)
class Spans:
    """Spans of tokens that do not overlap, in ascending order; some may be empty.

    `owner` (S): the example of each span; `starts` (S): the index of its first token in the tokens
    of all examples; `lengths` (S).
    """

    owner: I64
    starts: I64
    lengths: I64

    def counts(self, examples: int) -> I64:
        """Return the number of spans in every example (E)."""
        return np.bincount(self.owner, minlength=examples).astype(np.int64)

    def noise_counts(self, examples: int) -> I64:
        """Return the number of tokens within spans in every example (E)."""
        return np.bincount(self.owner, weights=self.lengths, minlength=examples).astype(np.int64)

    @property
    def tokens(self) -> I64:
        """The indexes of all tokens within spans, ascending."""
        return ragged_ranges(self.starts, self.lengths)


def replace_spans(tokens: I64, lengths: I64, spans: Spans, replacements: I64) -> tuple[I64, I64]:
    """Replace each span by one token of `replacements` (S); return the texts and their lengths
    (E)."""
    kept = np.ones(tokens.size, dtype=bool)
    kept[spans.tokens] = False
    # Number of kept tokens before each token: the index of a span in the kept tokens.
    kept_before = np.concatenate([[0], np.cumsum(kept)])
    source = np.insert(tokens[kept], kept_before[spans.starts], replacements)
    examples = lengths.size
    return source, lengths - spans.noise_counts(examples) + spans.counts(examples)


def noise_token_counts(lengths: I64, rate: float) -> I64:
    """Return the noise tokens of each text (E): `rate` of them, rounded; at least 1, never all."""
    rounded = np.rint(rate * lengths).astype(np.int64)
    return np.asarray(np.minimum(np.maximum(rounded, 1), np.maximum(lengths - 1, 0)))
