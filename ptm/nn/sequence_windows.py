"""The examples of packed rows as batches of sequences of similar length."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# B rows, T tokens per row, N tokens of all examples (padding is left out), S sequences, L steps.


@dataclass(frozen=True)
class SequenceWindows:
    """The examples of a batch, one sequence each, in windows of similar length.

    Within a window, the longest sequence has less than twice the tokens of the shortest, so less
    than half of a window is padding. For an LSTM on a CPU, whose fused kernel needs sequences of
    one length, this is faster than a packed sequence (benchmarks/README.md).
    """

    windows: tuple[Tensor, ...]
    """For each window, the index in the flattened rows of the token at each step (S, L). After the
    end of a sequence it is that of its last token."""
    places: Tensor
    """Place of each token among the steps of all windows, flattened and concatenated (N)."""
    tokens: Tensor
    """Index of each token in the flattened rows (N)."""

    @classmethod
    def of(cls, example_ids: Tensor) -> SequenceWindows:
        """The windows of a batch with example ids (B, T), 0 for padding, on the CPU."""
        starts, lengths = _sequences(example_ids)
        longest_first = lengths.argsort(descending=True, stable=True)
        starts, lengths = starts[longest_first], lengths[longest_first]
        windows, places, tokens = [], [], []
        first, before = 0, 0
        while first < len(lengths):
            steps = int(lengths[first])
            # Lengths decrease, so the sequences of more than half the steps come first.
            count = int((2 * lengths[first:] > steps).sum())
            begin, length = (part[first : first + count, None] for part in (starts, lengths))
            step = torch.arange(steps)
            windows.append(begin + torch.minimum(step, length - 1))
            real = step < length
            places.append(before + real.flatten().nonzero()[:, 0])
            tokens.append(windows[-1][real])
            first, before = first + count, before + count * steps
        none = torch.zeros(0, dtype=torch.long)
        return cls(tuple(windows), torch.cat([none, *places]), torch.cat([none, *tokens]))


def _sequences(example_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Start in the flattened rows and length of each run of tokens of one example (S)."""
    begins = torch.ones_like(example_ids, dtype=torch.bool)
    begins[:, 1:] = example_ids[:, 1:] != example_ids[:, :-1]
    starts = begins.flatten().nonzero()[:, 0]
    lengths = starts.diff(append=torch.tensor([example_ids.numel()]))
    real = example_ids.flatten()[starts] != 0
    return starts[real], lengths[real]
