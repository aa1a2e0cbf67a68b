"""Text generation: greedy decoding, sampling and beam search with a key-value cache.

transformers' `generate` works only on its own model classes and is not a dependency; the tests
compare with it.
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
from ptm.nn.key_value_cache import Cache, use_cache

# B: rows, one per text; T: tokens per row; V: vocabulary size.


@dataclass(frozen=True)
class Sampling:
    """The distribution to sample from: temperature, then top-k, then top-p."""

    temperature: float = 1.0
    """Divisor of the logits."""
    top_k: int | None = None
    """Sample from this many most likely tokens (Fan et al. 2018, section 5.1)."""
    top_p: float | None = None
    """Sample from the fewest most likely tokens with this total probability.

    Nucleus sampling (Holtzman et al. 2020).
    """

    def sample(self, logits: Tensor, generator: torch.Generator) -> Tensor:
        """Draw one token per row: logits (B, V) -> token ids (B,)."""
        return torch.multinomial(self.probabilities(logits), 1, generator=generator)[:, 0]

    def probabilities(self, logits: Tensor) -> Tensor:
        """Logits (B, V) -> probabilities (B, V) to sample from."""
        scores = logits / self.temperature
        if self.top_k is not None and self.top_k < scores.shape[-1]:
            least = scores.topk(self.top_k, dim=-1).values[:, -1:]
            scores = scores.masked_fill(scores < least, float("-inf"))
        if self.top_p is not None:
            scores = _nucleus(scores, self.top_p)
        return scores.softmax(dim=-1)


def _nucleus(scores: Tensor, share: float) -> Tensor:
    """Set to -inf the tokens outside the nucleus of `share`; the most likely token always stays."""
    ordered, order = scores.sort(dim=-1, descending=True)
    shares = ordered.softmax(dim=-1)
    # Drop each token that is preceded by tokens whose probabilities sum to `share` already.
    before = shares.cumsum(dim=-1) - shares
    beyond = torch.empty_like(before, dtype=torch.bool).scatter_(-1, order, before >= share)
    return scores.masked_fill(beyond, float("-inf"))


@dataclass
class Continuation:
    """A batch of texts in generation: what the model has read, and logits of the next token."""

    model: PlainModel
    caches: Sequence[Cache]
    given: Mapping[str, Tensor]
    """Fixed inputs: the encoder's output and example ids of an encoder-decoder, else empty."""
    next_position: Tensor
    """Position id of the next token in every row (B,)."""
    segment: int
    """Segment id of the generated tokens."""
    logits: Tensor
    """Logits of the next token in every row (B, V), fp32."""

    def read(self, tokens: Tensor) -> None:
        """Append one token per row, (B,), and compute the next logits."""
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
        """Replace the rows by those numbered `rows`; a row may be dropped or repeated."""
        for cache in self.caches:
            cache.reorder(rows)
        self.given = {name: tensor.index_select(0, rows) for name, tensor in self.given.items()}
        self.next_position = self.next_position[rows]
        self.logits = self.logits[rows]


@contextmanager
def continuation(
    model: PlainModel, prompts: Sequence[Prompt], *, pad: int
) -> Iterator[Continuation]:
    """Yield the continuation after `model` has read `prompts`.

    The plan of `model` must output `logits`. All prompts must be of one objective. Prompts are
    padded on the left, so that the next token of every row is in the same column.
    """
    given = _encoded(model, prompts, pad=pad)
    prompt_ids = _left_padded([torch.tensor(prompt.begin) for prompt in prompts], pad)
    real = _left_padded([torch.ones(len(prompt.begin)) for prompt in prompts], 0).long()
    tensors = {
        "input_ids": prompt_ids,
        "position_ids": (real.cumsum(dim=1) - 1).clamp(min=0),
        "segment_ids": real * prompts[0].segment,
        "example_ids": real,
    }
    with use_cache(model) as caches:
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
    """Return the encoder's output for the prompts' sources; empty for decoder-only models."""
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
    """Return the logits after the last token of `tensors`, (B, V), fp32."""
    if given:
        side = {f"{DECODER}{name}": tensor for name, tensor in tensors.items()}
        found = model.run(model.plan.after("memory"), {**side, **given})
    else:
        found = model(tensors)
    logits: Tensor = found["logits"][:, -1].float()
    return logits


def _left_padded(rows: Sequence[Tensor], fill: int) -> Tensor:
    """Stack rows to (B, T) with the last token of every row in the last column."""
    turned = [row.flip(0) for row in rows]
    return pad_sequence(turned, batch_first=True, padding_value=fill).flip(1)


@dataclass(frozen=True)
class StopRule:
    """When generation stops."""

    end: int
    """Id of the token that ends a text."""
    max_new_tokens: int
    """Maximum number of new tokens."""
    pad: int
    """Id of the padding token, for shorter prompts."""
    vocabulary_size: int | None = None
    """Number of tokens; later rows of the output layer are unused. Default: all its rows."""


def generate_tokens(
    model: PlainModel,
    prompts: Sequence[Prompt],
    limits: StopRule,
    *,
    sampling: Sampling | None = None,
    seed: int = 0,
    room: Sequence[int] | None = None,
) -> Iterator[list[int | None]]:
    """Generate all `prompts` as one batch; yield the next token of every row at each step.

    Decoding is greedy unless `sampling` is given. Rows that have ended yield None; the end token
    itself is not yielded. `room`: the maximum number of new tokens of every row, at least 1, where
    it is lower than that of `limits`.
    """
    generator = torch.Generator().manual_seed(seed)
    longest = torch.full((len(prompts),), limits.max_new_tokens)
    if room is not None:
        longest = longest.minimum(torch.tensor(room))
    rows = torch.arange(len(prompts))
    with continuation(model, prompts, pad=limits.pad) as text:
        for length in range(1, int(longest.max()) + 1):
            logits = text.logits[:, : limits.vocabulary_size]
            if sampling is None:
                tokens = logits.argmax(dim=-1)
            else:
                tokens = sampling.sample(logits, generator)
            goes_on = tokens != limits.end
            rows, tokens = rows[goes_on], tokens[goes_on]
            if not rows.numel():
                return
            found: list[int | None] = [None] * len(prompts)
            for row, token in zip(rows.tolist(), tokens.tolist(), strict=True):
                found[row] = token
            yield found
            # The last token of a row is not read: no logits are needed, and its position may not
            # exist. So rows leave the batch when they have ended.
            has_room = length < longest[rows]
            rows, tokens = rows[has_room], tokens[has_room]
            if not rows.numel():
                return
            if len(rows) < len(text.logits):
                text.keep(goes_on.nonzero()[:, 0][has_room])
            text.read(tokens)


@dataclass
class _FinishedTexts:
    """The `most` best finished texts of one prompt, as (score, tokens), best first."""

    most: int
    texts: list[tuple[float, list[int]]] = field(default_factory=list)

    def add(self, score: float, tokens: list[int]) -> None:
        """Add a text and keep the `most` best."""
        self.texts = sorted([*self.texts, (score, tokens)], key=lambda text: -text[0])[: self.most]

    def beats(self, score: float) -> bool:
        """Whether a text with this score would not be among the `most` best."""
        return len(self.texts) == self.most and self.texts[-1][0] >= score


def beam_search(
    model: PlainModel, prompt: Prompt, limits: StopRule, *, beams: int, length_penalty: float
) -> list[int]:
    """Return the token ids of the best text found by beam search (Wu et al. 2016, section 7).

    The score of a text is its log probability divided by length ** `length_penalty`; the length
    includes the end token.
    """
    ended = _FinishedTexts(beams)
    with continuation(model, [prompt], pad=limits.pad) as text:
        scores = torch.zeros(1)
        written: list[list[int]] = [[]]
        for length in range(1, limits.max_new_tokens + 1):
            grown = _extend_beams(scores, text.logits, beams=beams, tokens=limits.vocabulary_size)
            for score, row in grown.ended(limits.end):
                ended.add(score / length**length_penalty, written[row])
            scores, rows, tokens = grown.active(limits.end)
            written = [
                [*written[row], token]
                for row, token in zip(rows.tolist(), tokens.tolist(), strict=True)
            ]
            if length == limits.max_new_tokens:
                for score, ids in zip(scores.tolist(), written, strict=True):
                    ended.add(score / length**length_penalty, ids)
            elif ended.beats(float(scores[0]) / length**length_penalty):
                break
            else:
                text.keep(rows)
                text.read(tokens)
    return ended.texts[0][1]


@dataclass(frozen=True)
class _Beams:
    """Candidates of one beam search step, best first: score, row that is continued and new token.

    There are 2 * beams of them. At most one per row is the end token, so at least `beams` continue.
    """

    scores: Tensor
    rows: Tensor
    tokens: Tensor
    beams: int

    def ended(self, end: int) -> list[tuple[float, int]]:
        """Return score and row of each of the best `beams` candidates that ends."""
        best = self.tokens[: self.beams] == end
        rows, scores = self.rows[: self.beams][best], self.scores[: self.beams][best]
        return list(zip(scores.tolist(), rows.tolist(), strict=True))

    def active(self, end: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return scores, rows and tokens of the best `beams` candidates that do not end."""
        on = (self.tokens != end).nonzero()[: self.beams, 0]
        return self.scores[on], self.rows[on], self.tokens[on]


def _extend_beams(scores: Tensor, logits: Tensor, *, beams: int, tokens: int | None) -> _Beams:
    """Extend the texts by one token, given their scores (rows,) and next logits (rows, V).

    `tokens`: number of tokens, if fewer than V.
    """
    # total (rows, tokens): log probability of every text with every next token.
    total = scores[:, None] + logits.log_softmax(dim=-1)[:, :tokens]
    best = total.flatten().topk(min(2 * beams, total.numel()))
    rows = torch.div(best.indices, total.shape[1], rounding_mode="floor")
    return _Beams(best.values, rows, best.indices % total.shape[1], beams)
