"""Rows that are continued until they end: one choice a row, or the best of several beams."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ptm.model.build import PlainModel
from ptm.model.decoding.choosing import Sampling
from ptm.model.decoding.continuation import Continuation, continuation
from ptm.objectives.contract import Prompt


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
        for _ in range(limits.longest):
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
        rows: list[list[int]] = [[]]
        for length in range(1, limits.longest + 1):
            scores, rows = _step(text, scores, rows, ended, limits.end, beams, length_penalty)
            if ended.beats(float(scores[0]) / length**length_penalty):
                break
        else:
            for score, tokens in zip(scores.tolist(), rows, strict=True):
                ended.add(score / limits.longest**length_penalty, tokens)
    return ended.texts[0][1]


def _step(
    text: Continuation,
    scores: Tensor,
    rows: list[list[int]],
    ended: _Ended,
    end: int,
    beams: int,
    length_penalty: float,
) -> tuple[Tensor, list[list[int]]]:
    """One token more: the best beams that go on; those that ended are in `ended`."""
    total = scores[:, None] + text.logits.log_softmax(dim=-1)
    vocabulary = total.shape[1]
    # Of twice as many at least `beams` go on, since a row can end in one way only.
    best = total.flatten().topk(min(2 * beams, total.numel()))
    going: list[tuple[float, int, int]] = []
    for rank, (score, at) in enumerate(
        zip(best.values.tolist(), best.indices.tolist(), strict=True)
    ):
        row, token = divmod(at, vocabulary)
        if token == end:
            if rank < beams:
                ended.add(score / (len(rows[row]) + 1) ** length_penalty, rows[row])
        elif len(going) < beams:
            going.append((score, row, token))
    text.keep(torch.tensor([row for _, row, _ in going]))
    text.read(torch.tensor([token for _, _, token in going]))
    continued_rows = [[*rows[row], token] for _, row, token in going]
    return torch.tensor([score for score, _, _ in going]), continued_rows
