"""Recurrent layers (Elman 1990; Hochreiter and Schmidhuber 1997; Cho et al. 2014) within examples.

The cells are those of torch.nn.RNN, LSTM and GRU. Examples that share a row are run as sequences of
their own, so that no state passes from one to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ptm.nn.key_value_cache import StateCache
from ptm.nn.layers import Dropout
from ptm.nn.model_shape import Cell
from ptm.nn.sequence_windows import SequenceWindows

# B rows, T tokens per row, I input size, D output size, H size of one direction's state, G gates,
# S sequences: runs of tokens with one example id, padding included.

_GATES: Mapping[Cell, int] = {"rnn_tanh": 1, "rnn_relu": 1, "lstm": 4, "gru": 3}


class RecurrentLayer(nn.Module):
    """One recurrent layer and dropout of its output.

    With `bidirectional`, a second set of weights reads each example backwards, and the outputs of
    both directions, half of `output_size` each, are concatenated.
    """

    state_cache: StateCache | None = None
    """State and example id of the last token of each row, during generation."""

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        output_size: int,
        *,
        dropout: float,
        bidirectional: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.cell: Cell = cell
        self.bidirectional = bidirectional
        self.bias = bias
        self.directions = 2 if bidirectional else 1
        self.state_size = output_size // self.directions
        self.dropout = Dropout(dropout)
        width = _GATES[cell] * self.state_size
        # In the order in which torch's functions take them.
        shapes = {"input_weight": (width, input_size), "state_weight": (width, self.state_size)}
        if bias:
            # Two biases, as cuDNN has them; in a GRU they are not redundant.
            shapes |= {"input_bias": (width,), "state_bias": (width,)}  # type: ignore[dict-item]
        self._names = [
            f"{direction}{name}"
            for direction in (("", "reverse_") if bidirectional else ("",))
            for name in shapes
        ]
        for name in self._names:
            shape = shapes[name.removeprefix("reverse_")]
            self.register_parameter(name, nn.Parameter(torch.empty(*shape)))

    def forward(self, hidden: Tensor, example_ids: Tensor) -> Tensor:
        """(B, T, I), ids (B, T) -> (B, T, D)."""
        if not self._restarts(example_ids):
            output = self._run_rows(hidden, example_ids)
        elif self.cell == "lstm" and hidden.device.type == "cpu" and self.state_cache is None:
            # torch's fused LSTM kernel for CPUs cannot run packed sequences.
            output = self._run_windows(hidden, example_ids)
        else:
            output = self._run_sequences(hidden, example_ids)
        dropped: Tensor = self.dropout(output)
        return dropped

    def _restarts(self, example_ids: Tensor) -> bool:
        """Whether a state has to be reset within a row."""
        before, after = example_ids[:, :-1], example_ids[:, 1:]
        changes = before != after
        # What a causal layer computes for padding after the last example is not used.
        return bool((changes if self.bidirectional else changes & (after != 0)).any())

    def _run_rows(self, hidden: Tensor, example_ids: Tensor) -> Tensor:
        """Run each row as one sequence."""
        states = self._cached_states(example_ids)
        if states is None:
            states = self._zeros(hidden, hidden.shape[0])
        output, last = self._call(hidden, None, states)
        self._cache(example_ids, last)
        # torch returns a view of (T, B, D), which a pipeline stage cannot send.
        return output.contiguous()

    def _run_windows(self, hidden: Tensor, example_ids: Tensor) -> Tensor:
        """Run the examples as sequences of their own; the output is zero at padding.

        Each direction is run alone, since a window has padding after its shorter sequences.
        """
        names = self._names
        output = self._run_causally(hidden, example_ids, names[: len(names) // self.directions])
        if not self.bidirectional:
            return output
        flipped = self._run_causally(hidden.flip(1), example_ids.flip(1), names[len(names) // 2 :])
        return torch.cat((output, flipped.flip(1)), dim=-1)

    def _run_causally(self, hidden: Tensor, example_ids: Tensor, names: Sequence[str]) -> Tensor:
        layout = SequenceWindows.of(example_ids.cpu())
        rows, device = hidden.flatten(0, 1), hidden.device
        outputs = []
        for window in layout.windows:
            data = rows.index_select(0, window.flatten().to(device)).view(*window.shape, -1)
            states = self._zeros(hidden, len(window), directions=1)
            output, _ = self._call(data, None, states, names)
            outputs.append(output.flatten(0, 1))
        found = torch.cat(outputs).index_select(0, layout.places.to(device))
        placed = found.new_zeros(len(rows), self.state_size)
        return placed.index_copy(0, layout.tokens.to(device), found).view(*hidden.shape[:2], -1)

    def _run_sequences(self, hidden: Tensor, example_ids: Tensor) -> Tensor:
        """Run the sequences of all rows as one packed sequence, which has their last states."""
        layout = PackedLayout.of(example_ids.cpu())
        device = hidden.device
        states = self._zeros(hidden, int(layout.batch_sizes[0]))
        cached = self._cached_states(example_ids)
        if cached is not None:
            first = layout.first.to(device)
            states = tuple(
                state.index_copy(1, first, kept) for state, kept in zip(states, cached, strict=True)
            )
        data = hidden.flatten(0, 1).index_select(0, layout.order.to(device))
        packed, last = self._call(data, layout.batch_sizes, states)
        if self.state_cache is not None:
            final = layout.last.to(device)
            self._cache(example_ids, tuple(state.index_select(1, final) for state in last))
        return packed.index_select(0, layout.place.to(device)).view(*hidden.shape[:2], -1)

    def _call(
        self,
        data: Tensor,
        batch_sizes: Tensor | None,
        states: tuple[Tensor, ...],
        names: Sequence[str] | None = None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Call torch's function on rows (B, T, I) or on packed sequences (tokens, I).

        `names`: the weights of the directions to run, by default of all. Returns the output and
        the last states, (directions, B or S, H) each.
        """
        weights = [self.get_parameter(name) for name in names or self._names]
        bidirectional = len(weights) == len(self._names) and self.bidirectional
        given: Any = list(states) if self.cell == "lstm" else states[0]
        # One layer, and dropout outside, because torch's has none after the last layer.
        options = (weights, self.bias, 1, 0.0, self.training, bidirectional)
        function = _FUNCTIONS[self.cell]
        if batch_sizes is None:
            output, *last = function(data, given, *options, True)
        else:
            output, *last = function(data, batch_sizes, given, *options)
        return output, tuple(last)

    def _zeros(
        self, hidden: Tensor, sequences: int, *, directions: int | None = None
    ) -> tuple[Tensor, ...]:
        size = (directions or self.directions, sequences, self.state_size)
        return (hidden.new_zeros(size),) * (2 if self.cell == "lstm" else 1)

    def _cached_states(self, example_ids: Tensor) -> tuple[Tensor, ...] | None:
        """The states (1, B, H) to continue from; zero if the first token is of a new example."""
        if self.state_cache is None or self.state_cache.is_empty:
            return None
        last_id, *states = self.state_cache.content
        same = (last_id == example_ids[:, 0])[:, None]
        return tuple((state * same)[None] for state in states)

    def _cache(self, example_ids: Tensor, last: tuple[Tensor, ...]) -> None:
        if self.state_cache is not None:
            assert not self.bidirectional, "only causal layers continue from a state"
            self.state_cache.replace(example_ids[:, -1], *(state[0] for state in last))


_FUNCTIONS: Mapping[Cell, Callable[..., Any]] = {
    "rnn_tanh": torch.rnn_tanh,
    "rnn_relu": torch.rnn_relu,
    "lstm": torch.lstm,
    "gru": torch.gru,
}


@dataclass(frozen=True)
class PackedLayout:
    """Where the tokens of the sequences of a batch are in torch's packed layout.

    The packed layout has the first tokens of all sequences, then the second tokens of all that
    have one, and so on, with the longest sequences first.
    """

    order: Tensor
    """Index in the flattened rows of each packed token (B x T)."""
    place: Tensor
    """Index in the packed layout of each token of the flattened rows (B x T)."""
    batch_sizes: Tensor
    """Number of sequences with a token at each step, not increasing."""
    first: Tensor
    """Rank by length of the first sequence of each row (B)."""
    last: Tensor
    """Rank by length of the last sequence of each row (B)."""

    @classmethod
    def of(cls, example_ids: Tensor) -> PackedLayout:
        """The layout of a batch with example ids (B, T), on the CPU."""
        rows, columns = example_ids.shape
        begins = torch.ones_like(example_ids, dtype=torch.bool)
        begins[:, 1:] = example_ids[:, 1:] != example_ids[:, :-1]
        sequence = begins.flatten().cumsum(0) - 1
        begin = begins.flatten().nonzero()[:, 0]
        lengths = begin.diff(append=torch.tensor([rows * columns]))
        longest_first = lengths.argsort(descending=True, stable=True)
        rank = torch.empty_like(longest_first)
        rank[longest_first] = torch.arange(len(rank))
        step = torch.arange(rows * columns) - begin[sequence]
        batch_sizes = torch.bincount(step)
        place = (batch_sizes.cumsum(0) - batch_sizes)[step] + rank[sequence]
        order = torch.empty_like(place)
        order[place] = torch.arange(rows * columns)
        by_row = rank[sequence].view(rows, columns)
        return cls(order, place, batch_sizes, by_row[:, 0], by_row[:, -1])
