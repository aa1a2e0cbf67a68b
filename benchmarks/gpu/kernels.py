"""What the card can do: rates of copies and of the matrix products of a layer and of a head."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.gpu.figures import Bench
from benchmarks.gpu.timing import seconds_of, the_device

_WIDTHS = ((768, 3072), (1024, 4096))
_VOCABULARIES = (21128, 21184, 30522, 30528, 50257, 50304)
"""Those of Chinese BERT, BERT and GPT-2, and the next multiples of 64."""
_PREDICTED = 4928
"""15 % of 256 x 128 tokens, rounded up to a multiple of 64."""


def run(bench: Bench) -> None:
    with bench.case("copy"):
        _copy(bench)
    for width, wide in _WIDTHS:
        with bench.case("products of a layer", width=width):
            _layer(bench, width, wide)
    for size in _VOCABULARIES:
        with bench.case("products of a head", vocabulary=size):
            _head(bench, size // 100 if bench.dry else size)


def _copy(bench: Bench) -> None:
    size = 2**20 if bench.dry else 2**31
    source, target = (torch.zeros(size, dtype=torch.uint8, device=the_device()) for _ in range(2))
    seconds = seconds_of(lambda: target.copy_(source))
    bench.record("copy", bytes=size, **{"read and written, TB/s": 2 * size / seconds / 1e12})


def _layer(bench: Bench, width: int, wide: int) -> None:
    """The four products of a transformer layer, forward and backward, on 32,768 tokens."""
    rows = 64 if bench.dry else 32768
    operations = seconds = 0.0
    for inputs, outputs in ((width, 3 * width), (width, width), (width, wide), (wide, width)):
        hidden, gradient = _random(rows, inputs), _random(rows, outputs)
        weight, bias = _random(outputs, inputs), _random(outputs)
        flops = 2 * rows * inputs * outputs
        times = _times(partial(F.linear, hidden, weight, bias), hidden, weight, gradient)
        bias_seconds = seconds_of(partial(torch.sum, gradient, dim=0))
        bench.record(
            "products of a layer",
            width=width,
            shape=f"{rows} x {inputs} x {outputs}",
            **_rates(flops, times),
            **{"sum of bias gradients, us": 1e6 * bias_seconds},
        )
        operations += 3 * flops
        seconds += sum(times.values())
    bench.record(
        "products of a layer",
        width=width,
        shape="all four",
        **{"together, TFLOP/s": operations / seconds / 1e12},
    )


def _head(bench: Bench, vocabulary: int) -> None:
    rows = 16 if bench.dry else _PREDICTED
    hidden, weight = _random(rows, 768), _random(vocabulary, 768)
    gradient = _random(rows, vocabulary)
    times = _times(lambda: hidden @ weight.t(), hidden, weight, gradient)
    flops = 2 * rows * 768 * vocabulary
    bench.record("products of a head", vocabulary=vocabulary, rows=rows, **_rates(flops, times))


def _times(
    forward: Callable[[], Tensor], hidden: Tensor, weight: Tensor, gradient: Tensor
) -> dict[str, float]:
    """Seconds of the product and of its two gradients."""
    return {
        "forward": seconds_of(forward),
        "input gradient": seconds_of(lambda: gradient @ weight),
        "weight gradient": seconds_of(lambda: gradient.t() @ hidden),
    }


def _rates(flops: float, times: dict[str, float]) -> dict[str, float]:
    return {f"{name}, TFLOP/s": flops / seconds / 1e12 for name, seconds in times.items()}


def _random(*shape: int) -> Tensor:
    return torch.randn(shape, device=the_device(), dtype=torch.bfloat16)
