"""Text from a model's probabilities: choosing tokens, batches of texts that grow, beam search.

transformers' generation works on its own model classes, and is no dependency; the tests compare
with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ptm.components.objectives.base import Prompt
from ptm.data.placement import DECODER
from ptm.model.plain_model import PlainModel
from ptm.nn.key_value_cache import KeyValueCache, remembering

# B rows, T tokens a row, V vocabulary.


@dataclass(frozen=True)
class Sampling:
    """What is drawn from: the distribution, sharpened, without its tail."""

    temperature: float = 1.0
    """Scores are divided by it."""
    top_k: int | None = None
    """Only so many of the likeliest tokens (Fan et al. 2018, section 5.1)."""
    top_p: float | None = None
    """Only the fewest likeliest that have this share together (Holtzman et al. 2020)."""

    def choose(self, logits: Tensor, dice: torch.Generator) -> Tensor:
        """(B, V) -> a token a row (B)."""
        return torch.multinomial(self.probabilities(logits), 1, generator=dice)[:, 0]

    def probabilities(self, logits: Tensor) -> Tensor:
        """(B, V) -> what is drawn from (B, V)."""
        scores = logits / self.temperature
        if self.top_k is not None and self.top_k < scores.shape[-1]:
            least = scores.topk(self.top_k, dim=-1).values[:, -1:]
            scores = scores.masked_fill(scores < least, float("-inf"))
        if self.top_p is not None:
            scores = _nucleus(scores, self.top_p)
        return scores.softmax(dim=-1)


def _nucleus(scores: Tensor, share: float) -> Tensor:
    """`scores` without the tokens after those that have `share` together; the first stays."""
    ordered, order = scores.sort(dim=-1, descending=True)
    shares = ordered.softmax(dim=-1)
    before = shares.cumsum(dim=-1) - shares
    beyond = torch.empty_like(before, dtype=torch.bool).scatter_(-1, order, before >= share)
    return scores.masked_fill(beyond, float("-inf"))


@dataclass
class Continuation:
    """What is read so far in every row, and what comes next."""

    model: PlainModel
    caches: Sequence[KeyValueCache]
    given: Mapping[str, Tensor]
    """What stays: of an encoder-decoder, the encoder's output and its example ids."""
    next_position: Tensor
    """Of every row (B)."""
    segment: int
    """Of the tokens to come."""
    logits: Tensor
    """Of the next token of every row (B, V), fp32."""

    def read(self, tokens: Tensor) -> None:
        """Go on with one token a row (B)."""
        ones = torch.ones_like(tokens)[:, None]
        tensors = {
            "input_ids": tokens[:, None],
            "position_ids": self.next_position[:, None],
            "segment_ids": ones * self.segment,
            "example_ids": ones,
        }
        self.next_position = self.next_position + 1
        self.logits = _next_logits(self.model, self.given, tensors)

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows (any number of them, some perhaps several times)."""
        for cache in self.caches:
            cache.reorder(rows)
        self.given = {name: tensor.index_select(0, rows) for name, tensor in self.given.items()}
        self.next_position = self.next_position[rows]
        self.logits = self.logits[rows]


@contextmanager
def continuation(
    model: PlainModel, prompts: Sequence[Prompt], *, pad: int
) -> Iterator[Continuation]:
    """A model (its plan gives `logits`) that has read `prompts`, all of one objective."""
    given = _encoded(model, prompts, pad=pad)
    begun = _left_padded([torch.tensor(prompt.begin) for prompt in prompts], pad)
    real = _left_padded([torch.ones(len(prompt.begin)) for prompt in prompts], 0).long()
    tensors = {
        "input_ids": begun,
        "position_ids": (real.cumsum(dim=1) - 1).clamp(min=0),
        "segment_ids": real * prompts[0].segment,
        "example_ids": real,
    }
    with remembering(model) as caches:
        yield Continuation(
            model=model,
            caches=caches,
            given=given,
            next_position=real.sum(dim=1),
            segment=prompts[0].next_segment,
            logits=_next_logits(model, given, tensors),
        )


@torch.no_grad()
def _encoded(model: PlainModel, prompts: Sequence[Prompt], *, pad: int) -> dict[str, Tensor]:
    """The encoder's output for the prompts' sources; nothing where there is no encoder."""
    if prompts[0].source is None:
        return {}
    sources = [torch.tensor(prompt.source) for prompt in prompts]
    real = pad_sequence([torch.ones_like(source) for source in sources], batch_first=True)
    tensors = {
        "input_ids": pad_sequence(sources, batch_first=True, padding_value=pad),
        "position_ids": (real.cumsum(dim=1) - 1) * real,
        "segment_ids": real,
        "example_ids": real,
    }
    memory = model.run(model.plan.only("memory"), tensors)["memory"]
    return {"memory": memory, "example_ids": real}


@torch.no_grad()
def _next_logits(
    model: PlainModel, given: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> Tensor:
    """(B, V), fp32, after the last token of `tensors`."""
    if given:
        side = {f"{DECODER}{name}": tensor for name, tensor in tensors.items()}
        found = model.run(model.plan.after("memory"), {**side, **given})
    else:
        found = model(tensors)
    logits: Tensor = found["logits"][:, -1].float()
    return logits


def _left_padded(rows: Sequence[Tensor], fill: int) -> Tensor:
    """(B, T), the last token of every row in the last column."""
    turned = [row.flip(0) for row in rows]
    return pad_sequence(turned, batch_first=True, padding_value=fill).flip(1)


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
