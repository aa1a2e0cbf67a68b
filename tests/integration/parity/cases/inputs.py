"""Examples for a model, and its logits on them in ptm and in transformers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor, nn

from tests.support.bert_pairs import POSITIONS, Rows, lay_out_rows, packed, ptm_logits

Batch = dict[str, Tensor]
Model = Callable[[Batch], Mapping[str, Tensor]]


class Inputs(Protocol):
    """A few examples as rows of a batch.

    All logits are (N, V): one row per predicted token, example after example.
    """

    @property
    def padded(self) -> Batch:
        """One example per row."""

    @property
    def packed(self) -> Batch:
        """Several examples per row."""

    def single(self, index: int) -> Batch:
        """One row with one example."""

    def ptm_logits(self, model: Model, batch: Batch) -> Tensor:
        """The logits of ptm's model on a batch."""

    def hf_logits(self, model: nn.Module, indexes: Sequence[int] | None = None) -> Tensor:
        """The logits of transformers' model, one example at a time."""

    def hf_logits_padded(self, model: nn.Module) -> Tensor:
        """The logits of transformers' model on all examples in one batch, padding masked."""


@dataclass(frozen=True)
class OneSided:
    """Sequences of tokens, for an encoder or a causal decoder."""

    examples: tuple[Tensor, ...]
    pad: int

    @cached_property
    def _padded(self) -> Rows:
        return lay_out_rows([[ids] for ids in self.examples], pad=self.pad)

    @property
    def padded(self) -> Batch:
        return self._padded.tensors

    @cached_property
    def packed(self) -> Batch:
        return packed(self.examples, columns=POSITIONS).tensors

    def single(self, index: int) -> Batch:
        return lay_out_rows([[self.examples[index]]]).tensors

    def ptm_logits(self, model: Model, batch: Batch) -> Tensor:
        return ptm_logits(model, Rows(batch, self.examples))

    def hf_logits(self, model: nn.Module, indexes: Sequence[int] | None = None) -> Tensor:
        chosen = range(len(self.examples)) if indexes is None else indexes
        with torch.no_grad():
            return torch.cat([model(self.examples[index][None]).logits[0] for index in chosen])

    def hf_logits_padded(self, model: nn.Module) -> Tensor:
        rows = self._padded
        with torch.no_grad():
            logits = model(rows.tensors["input_ids"], attention_mask=rows.attention_mask).logits
        return logits[rows.attention_mask > 0]


@dataclass(frozen=True)
class TwoSided:
    """Sources and targets, for an encoder-decoder."""

    sources: tuple[Tensor, ...]
    targets: tuple[Tensor, ...]

    def rows(self, rows: Sequence[Sequence[int]]) -> Batch:
        """Source and target tensors; each row holds the examples with these indexes."""
        source, target = (
            lay_out_rows([[side[index] for index in row] for row in rows]).tensors
            for side in (self.sources, self.targets)
        )
        names = ("input_ids", "position_ids", "segment_ids", "example_ids")
        return {name: source[name] for name in names} | {
            f"decoder_{name}": target[name] for name in names
        }

    @cached_property
    def padded(self) -> Batch:
        return self.rows([[index] for index in range(len(self.sources))])

    @cached_property
    def packed(self) -> Batch:
        return self.rows([[index, index + 1] for index in range(0, len(self.sources), 2)])

    def single(self, index: int) -> Batch:
        return self.rows([[index]])

    def ptm_logits(self, model: Model, batch: Batch) -> Tensor:
        with torch.no_grad():
            logits: Tensor = model(batch)["logits"]
        return logits[batch["decoder_example_ids"] > 0]

    def hf_logits(self, model: nn.Module, indexes: Sequence[int] | None = None) -> Tensor:
        chosen = range(len(self.sources)) if indexes is None else indexes
        with torch.no_grad():
            return torch.cat(
                [
                    model(
                        input_ids=self.sources[index][None],
                        decoder_input_ids=self.targets[index][None],
                    ).logits[0]
                    for index in chosen
                ]
            )

    def hf_logits_padded(self, model: nn.Module) -> Tensor:
        batch = self.padded
        with torch.no_grad():
            logits: Tensor = model(
                input_ids=batch["input_ids"],
                attention_mask=(batch["example_ids"] > 0).long(),
                decoder_input_ids=batch["decoder_input_ids"],
            ).logits
        return logits[batch["decoder_example_ids"] > 0]


def two_sided(words: int, *, examples: int = 6, seed: int = 0) -> TwoSided:
    """Random examples of ordinary tokens, with sources and targets of various lengths."""
    generator = torch.Generator().manual_seed(seed)

    def side(shortest: int) -> tuple[Tensor, ...]:
        lengths = torch.linspace(shortest, 40, examples).long()
        order = torch.randperm(examples, generator=generator)
        return tuple(
            torch.randint(5, words, (int(lengths[n]),), generator=generator) for n in order
        )

    return TwoSided(side(3), side(5))
