"""Rows that are continued until they end: one choice a row, or the best of several beams."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ptm.components.objectives.base import Prompt
from ptm.inference.decoding.choosing import Sampling
from ptm.inference.decoding.continuation import continuation
from ptm.model.plain import PlainModel


@dataclass(frozen=True)
class Limits:
    """When a row ends that has not ended itself."""

    end: int
    """The token that ends a text."""
    longest: int
    """New tokens, at most."""
    pad: int
    """What fills rows up that have ended or begin later."""


def continued(
    model: PlainModel,
    prompts: Sequence[Prompt],
    limits: Limits,
    *,
    sampling: Sampling | None = None,
    seed: int = 0,
) -> Iterator[list[int | None]]:
    """The next token of every row, again and again; None in rows that have ended.

    The likeliest one, or with `sampling` one that is drawn. The end token itself is not given.
    """
    dice = torch.Generator().manual_seed(seed)
    with continuation(model, prompts, pad=limits.pad) as text:
        going = torch.ones(len(prompts), dtype=torch.bool)
        for length in range(1, limits.longest + 1):
            if sampling is None:
                tokens = text.logits.argmax(dim=-1)
            else:
                tokens = sampling.choose(text.logits, dice)
            going &= tokens != limits.end
            if not going.any():
                return
            yield [
                token if here else None
                for token, here in zip(tokens.tolist(), going.tolist(), strict=True)
            ]
            # What nothing follows need not be read; there may be no position for it.
            if length < limits.longest:
                text.read(torch.where(going, tokens, limits.pad))


@dataclass
class _Ended:
    """The best texts of one prompt that have ended: (score, tokens)."""

    most: int
    texts: list[tuple[float, list[int]]] = field(default_factory=list)

    def add(self, score: float, tokens: list[int]) -> None:
        """Keep it if it is among the best."""
        self.texts = sorted([*self.texts, (score, tokens)], key=lambda text: -text[0])[: self.most]

    def beats(self, score: float) -> bool:
        """Whether nothing with at most `score` would be among them."""
        return len(self.texts) == self.most and self.texts[-1][0] >= score


def searched(
    model: PlainModel, prompt: Prompt, limits: Limits, *, beams: int, length_penalty: float
) -> list[int]:
    """The best text that a search with so many beams finds (Wu et al. 2016, section 7).

    A text's score is its log probability over its tokens, the end among them, to the power of
    `length_penalty`.
    """
    ended = _Ended(beams)
    with continuation(model, [prompt], pad=limits.pad) as text:
        scores = torch.zeros(1)
        written: list[list[int]] = [[]]
        for length in range(1, limits.longest + 1):
            grown = _grown(scores, text.logits, beams=beams)
            for score, row in grown.ended(limits.end):
                ended.add(score / length**length_penalty, written[row])
            scores, rows, tokens = grown.going(limits.end)
            written = [
                [*written[row], token]
                for row, token in zip(rows.tolist(), tokens.tolist(), strict=True)
            ]
            if length == limits.longest:
                for score, ids in zip(scores.tolist(), written, strict=True):
                    ended.add(score / length**length_penalty, ids)
            elif ended.beats(float(scores[0]) / length**length_penalty):
                break
            else:
                text.keep(rows)
                text.read(tokens)
    return ended.texts[0][1]


@dataclass(frozen=True)
class _Grown:
    """The best texts that are one token longer, the best first: scores, the row each continues and
    its token (twice as many as there are beams, since a row can end in one way only)."""

    scores: Tensor
    rows: Tensor
    tokens: Tensor
    beams: int

    def ended(self, end: int) -> list[tuple[float, int]]:
        """Score and row of those among the best that end."""
        best = self.tokens[: self.beams] == end
        rows, scores = self.rows[: self.beams][best], self.scores[: self.beams][best]
        return list(zip(scores.tolist(), rows.tolist(), strict=True))

    def going(self, end: int) -> tuple[Tensor, Tensor, Tensor]:
        """Scores, rows and tokens of the best that go on."""
        on = (self.tokens != end).nonzero()[: self.beams, 0]
        return self.scores[on], self.rows[on], self.tokens[on]


def _grown(scores: Tensor, logits: Tensor, *, beams: int) -> _Grown:
    """Scores of the texts so far (rows), and logits of what comes next (rows, V)."""
    total = scores[:, None] + logits.log_softmax(dim=-1)
    best = total.flatten().topk(min(2 * beams, total.numel()))
    rows = torch.div(best.indices, total.shape[1], rounding_mode="floor")
    return _Grown(best.values, rows, best.indices % total.shape[1], beams)
