"""What models that write text write: greedily, from the same prompts or sources every time.

Shapes: B examples, L tokens of a row on the writing side, V vocabulary size.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptm.arrays import I64
from ptm.components.objectives import MicroBatch
from ptm.components.objectives.base import Prompt
from ptm.data.placement import DECODER, ENCODER_TENSORS, EXAMPLE_IDS
from ptm.data.sides_apart import MEMORY_CELLS, MEMORY_IDS
from ptm.loading.rows import PackedDataset
from ptm.train.samples.base import Infer, Sampler, Tokenizers, shortened
from ptm.train.samples.record import Sample

_PROMPT_TOKENS = 32
_NEW_TOKENS = 32


class WrittenSampler(Sampler):
    """Continues the first half of a text, or writes the target of a source.

    Each token is one forward pass over whole rows of a fixed size: a cache of keys would need other
    kernels than the training, and under ZeRO 3 all ranks must run the same modules.
    """

    types: ClassVar[tuple[str, ...]] = ("lm", "prefixlm", "seq2seq", "t5", "bart", "gsg")
    outputs: ClassVar[tuple[str, ...] | None] = ("logits",)

    def __init__(self, rows: PackedDataset, examples: I64, tokenizers: Tokenizers) -> None:
        super().__init__(rows, examples, tokenizers)
        self._has_decoder = rows.objective.needs_decoder
        found = [self._of_parts(parts) for parts in self.parts()]
        if rows.objective.type != "lm":
            found = [self._of_row(row) for row in range(self.batch.rows)]
        self._shown = [shown for shown, _, _ in found]
        self._prompts = [prompt for _, prompt, _ in found]
        self._references = [reference[:_NEW_TOKENS] for _, _, reference in found]

    def _of_parts(self, parts: list[list[int]]) -> tuple[list[int], Prompt, list[int]]:
        """Shown text, prompt and reference of a text that is continued."""
        ids = parts[0]
        cut = min(_PROMPT_TOKENS, max(1, len(ids) // 2))
        return ids[:cut], self._prompt(ids[:cut]), ids[cut:]

    def _of_row(self, row: int) -> tuple[list[int], Prompt, list[int]]:
        """Shown source, prompt and reference of an example with a source and a target."""
        tensors = self.batch.tensors
        target: list[int] = tensors["target_ids"][row][tensors["target_weights"][row] > 0].tolist()
        prompt = self._prompt([])
        read = self.token_ids(row)
        if not self._has_decoder:
            in_prefix = tensors["segment_ids"][row][: len(read)] == prompt.segment
            read = [token for token, kept in zip(read, in_prefix, strict=True) if kept]
            prompt = Prompt(tuple(read), None, prompt.segment, prompt.next_segment)
        special, tokens = self.rows.vocabularies.source.is_special, read
        begin, end = int(special[tokens[0]]), len(tokens) - int(special[tokens[-1]])
        return tokens[begin:end], prompt, self._until_end(target)

    def _prompt(self, ids: list[int]) -> Prompt:
        prompt = self.rows.objective.prompt(ids, self.rows.vocabularies)
        assert prompt is not None, "the objective writes text"
        return prompt

    def _until_end(self, ids: list[int]) -> list[int]:
        """The ids before the token that ends a text."""
        end = self.rows.vocabularies.target.special_id("eos")
        return ids[: ids.index(end)] if end in ids else ids

    def sample(self, infer: Infer) -> list[Sample]:
        source, target = self.tokenizers.source, self.tokenizers.target
        return [
            Sample(
                text=shortened(source, shown),
                expected=(target.decode(reference),),
                predicted=(target.decode(self._until_end(new)),),
            )
            for shown, reference, new in zip(
                self._shown, self._references, self._write(infer), strict=True
            )
        ]

    def _write(self, infer: Infer) -> list[list[int]]:
        """The new tokens of each example, all of the same number."""
        lengths = np.array([len(prompt.begin) for prompt in self._prompts], dtype=np.int64)
        size = self.rows.size
        room = (size.target if self._has_decoder else size.source) - int(lengths.max()) + 1
        count = min(_NEW_TOKENS, room)
        ids = self._grid(int(lengths.max()) + count - 1)
        rows = np.arange(len(ids))
        new = np.zeros((len(ids), count), dtype=np.int64)
        for number in range(count):
            last = lengths + number - 1
            new[:, number] = infer(self._micro_batch(ids, lengths), self._next_token(last))["next"]
            # The last token is only written, so it needs no cell.
            inside = last + 1 < ids.shape[1]
            ids[rows[inside], last[inside] + 1] = new[inside, number]
        found: list[list[int]] = new.tolist()
        return found

    def _next_token(self, last: I64) -> partial[dict[str, Tensor]]:
        size = self.rows.vocabularies.target.size
        return partial(_most_likely, last=last, size=size)

    def _grid(self, columns: int) -> NDArray[np.int64]:
        """The prompts in rows of `columns` tokens (B, L).

        What follows a prompt is read too, but no token attends to later ones of its side.
        """
        pad = self.rows.vocabularies.target.special_id("pad")
        ids = np.full((len(self._prompts), columns), pad, dtype=np.int64)
        for row, prompt in enumerate(self._prompts):
            ids[row, : len(prompt.begin)] = prompt.begin
        return ids

    def _micro_batch(self, ids: NDArray[np.int64], lengths: I64) -> MicroBatch:
        ones, columns = np.ones_like(ids), np.arange(ids.shape[1])
        first = self._prompts[0]
        side = DECODER if self._has_decoder else ""
        in_prompt = columns < lengths[:, None]
        tensors = {
            f"{side}input_ids": ids,
            f"{side}position_ids": ones * columns,
            f"{side}segment_ids": np.where(in_prompt, first.segment, first.next_segment),
            f"{side}example_ids": ones,
        }
        if self._has_decoder:
            tensors |= {name: self.batch.tensors[name] for name in ENCODER_TENSORS}
            if self.rows.packs_sides_apart:
                # Each source stays beside its target.
                real = tensors[EXAMPLE_IDS] > 0
                cells = np.arange(1, real.size + 1).reshape(real.shape)
                tensors |= {MEMORY_IDS: tensors[EXAMPLE_IDS], MEMORY_CELLS: cells * real}
        return MicroBatch(tensors, {}, rows=len(ids), examples=len(ids), tokens=ids.size)


def _most_likely(
    outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor], *, last: I64, size: int
) -> dict[str, Tensor]:
    """The most likely token after column `last` (B) of each row: logits (B, L, V) -> (B)."""
    logits = outputs["logits"]
    rows = torch.arange(len(last), device=logits.device)
    at = torch.from_numpy(last).to(logits.device)
    return {"next": logits[rows, at, :size].argmax(dim=-1)}
