"""A model that goes on from what it has read, and remembers it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ptm.components.objectives.base import Prompt
from ptm.data.placement import DECODER
from ptm.model.plain import PlainModel
from ptm.nn.cache import KeyValueCache, remembering

# B rows, T tokens a row, V vocabulary.


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
