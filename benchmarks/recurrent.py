"""Cost of a training step of ptm beside bare torch modules on the same rows, step by step.

python benchmarks/recurrent.py STEPS RECIPE... [--only ptm|torch] [KEY=VALUE ...]

A recipe has encoder rnn, lstm, gru or gated_cnn, and objective lm with an untied output. The
bare model is torch.nn.Embedding, RNN, LSTM, GRU or Conv1d layers, Linear and cross_entropy, with
clipping and fused AdamW; it runs whole rows, also if examples share them. Both train in one process
clipping and fused AdamW; it runs whole rows, also if examples share them. Both train in one process
programs slow down both alike. Figures are medians per step, without the first fifth of the steps:
real tokens per second of wall-clock time, processor milliseconds, and the ratios of ptm to torch,
as medians over pairs of neighbouring steps.

With --only, one side trains alone, and its memory is printed: how far the process's peak resident
memory rises above its value after the imports and the loading of the data.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptm.loading.rows import TRAIN, open_rows
from ptm.recipe import Recipe, load_recipe
from ptm.train.run import train

CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class Recurrent(nn.Module):
    """torch's recurrent layers, with the rows as sequences."""

    def __init__(self, kind: str, inputs: int, width: int, layers: int) -> None:
        super().__init__()
        self.rnn = CELLS[kind](inputs, width, layers, batch_first=True)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, D)."""
        output: Tensor = self.rnn(hidden)[0]
        return output


class Convolutional(nn.Module):
    """Causal Conv1d layers with gates, and a residual connection every two layers."""

    def __init__(self, inputs: int, width: int, layers: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.layers = nn.ModuleList(
            nn.Conv1d(inputs if index == 0 else width, 2 * width, kernel) for index in range(layers)
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, D)."""
        hidden = carried = hidden.transpose(1, 2)
        for index, layer in enumerate(self.layers):
            hidden = F.glu(layer(F.pad(hidden, (self.kernel - 1, 0))), dim=1)
            if index % 2 == 0:
                hidden = carried = hidden + carried if index else hidden
        return hidden.transpose(1, 2)


class Bare:
    """The bare model and its optimizer."""

    def __init__(self, recipe: Recipe, words: int) -> None:
        encoder: Any = recipe.model.encoder
        inputs = recipe.model.embedding.size or encoder.hidden_size
        width, layers = encoder.hidden_size, encoder.layers
        stack: nn.Module
        if encoder.type == "gated_cnn":
            stack = Convolutional(inputs, width, layers, encoder.kernel_size)
        else:
            stack = Recurrent(encoder.type, inputs, width, layers)
        output = nn.Linear(width, words, bias=False)
        self._model = nn.Sequential(nn.Embedding(words, inputs), stack, output)
        options: Any = recipe.optimizer
        self._optimizer = torch.optim.AdamW(
            self._model.parameters(), lr=options.learning_rate, fused=True
        )
        self._clipping = recipe.train.gradient_clipping

    def step(self, ids: Tensor, targets: Tensor, weights: Tensor) -> None:
        """One update from ids, targets and weights (B, T)."""
        self._optimizer.zero_grad(set_to_none=True)
        losses = F.cross_entropy(
            self._model(ids).flatten(0, 1), targets.flatten(), reduction="none"
        )
        (losses * weights.flatten()).sum().div(weights.sum()).backward()
        nn.utils.clip_grad_norm_(self._model.parameters(), self._clipping)
        self._optimizer.step()


class Clock:
    """Wall-clock and processor seconds of each step of one side."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self._began: tuple[float, float] | None = None

    def start(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        """Record the time since `start`, if it was called."""
        if self._began is not None:
            self.wall.append(time.perf_counter() - self._began[0])
            self.cpu.append(time.process_time() - self._began[1])

    def kept(self) -> tuple[list[float], list[float]]:
        """The times without those of the first fifth of the steps."""
        first = len(self.wall) // 5
        return self.wall[first:], self.cpu[first:]


def batches(recipe: Recipe) -> Callable[[int], tuple[Tensor, Tensor, Tensor]]:
    """The function from a step to the ids, targets and weights (B, T) of its rows."""
    rows, size = (
        open_rows(recipe, recipe.tokenizer.load(), split=TRAIN),
        recipe.train.global_batch_size,
    )

    def batch(step: int) -> tuple[Tensor, Tensor, Tensor]:
        chosen = np.arange(step * size, (step + 1) * size, dtype=np.int64) % len(rows)
        tensors = rows.micro_batch(np.sort(chosen), np.zeros_like(chosen)).tensors
        ids, targets, weights = (
            torch.from_numpy(tensors[name])
            for name in ("input_ids", "target_ids", "target_weights")
        )
        return ids, targets, weights

    return batch


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("steps", type=int)
    parser.add_argument("words", nargs="+", metavar="RECIPE or KEY=VALUE")
    parser.add_argument("--only", choices=("ptm", "torch"))
    parsed = parser.parse_intermixed_args(words)
    recipes = [word for word in parsed.words if word.endswith(".yaml")]
    overrides = [word for word in parsed.words if "=" in word]
    for recipe in recipes:
        with tempfile.TemporaryDirectory() as folder:
            given = [
                *(f"runs_dir={folder}", f"train.steps={parsed.steps}", "data.held_out=0"),
                *("checkpoint.every=1000000", f"tracking.log_every={parsed.steps}", *overrides),
            ]
            compare(recipe, given, steps=parsed.steps, only=parsed.only)
    return 0


def compare(path: str, overrides: list[str], *, steps: int, only: str | None) -> None:
    """Train the recipe at `path` and the bare model, or `only` one of them, and print figures."""
    recipe = load_recipe(path, overrides)
    bare = Bare(recipe, recipe.tokenizer.load().vocabulary.size)
    batch = batches(recipe)
    tokens = int(batch(0)[2].sum())
    ours, theirs = Clock(), Clock()
    before = peak_megabytes()

    def torch_step(step: int) -> None:
        data = batch(step)
        theirs.start()
        bare.step(*data)
        theirs.stop()

    def between(step: int) -> None:
        ours.stop()
        if only is None:
            torch_step(step)
        ours.start()

    if only == "torch":
        for step in range(steps):
            torch_step(step)
    else:
        train(lambda: load_recipe(path, overrides), fresh=True, on_step_begin=between)
    report(Path(path).parent.name, ours, theirs, tokens, grown=peak_megabytes() - before)


def report(name: str, ours: Clock, theirs: Clock, tokens: int, *, grown: float) -> None:
    """Print one line per side, and the ratio if both sides were measured."""
    for side, clock in (("ptm", ours), ("torch", theirs)):
        wall, cpu = clock.kept()
        if wall:
            print(
                f"{name} {side}: {tokens / statistics.median(wall):,.0f} real tokens/s, "
                f"{1000 * statistics.median(cpu):.0f} ms of processor time per step"
            )
    if ours.wall and theirs.wall:
        pairs = [
            statistics.median(one / other for one, other in zip(mine, others, strict=False))
            for mine, others in zip(ours.kept(), theirs.kept(), strict=True)
        ]
        print(f"{name} ptm / torch: {pairs[0]:.2f} of the time, {pairs[1]:.2f} of processor time")
    else:
        print(f"{name}: memory grew by {grown:,.0f} MB")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
