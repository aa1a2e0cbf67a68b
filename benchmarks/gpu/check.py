"""FlashAttention over sequences, as ptm calls it, against plain fp32 attention, with gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.gpu.figures import FAILED, Bench
from benchmarks.gpu.timing import the_device
from ptm.nn.varlen_attention import VarlenFunction, flash_operator, flash_varlen

# N query cells, M key cells, H query heads, G key and value heads, S head size.

_RUNS = (40, 60, 28, 0, 128, 0, 5, 5, 118, 0, 0, 0)
"""Lengths of the sequences of three rows of 128: examples and padding, some of them empty."""
_SOURCES = (30, 0, 50, 0, 128, 16, 7, 0, 100, 0, 0, 21)
"""Lengths on the encoder's side, with sequences without keys and without queries."""
_ALL = (-1, -1)
_LIMIT = 0.02
"""Relative errors of bf16, which has 8 bits of mantissa, are some thousandths."""


@dataclass(frozen=True)
class Case:
    """One call of the kernel. `keys`: lengths of the key sequences, by default those of queries."""

    name: str
    window: tuple[int, int] = _ALL
    heads: int = 4
    key_heads: int = 4
    head_size: int = 64
    keys: tuple[int, ...] = _RUNS


CASES = (
    Case("full"),
    Case("causal", window=(-1, 0)),
    Case("window", window=(8, 8)),
    Case("causal window", window=(8, 0)),
    Case("grouped heads", key_heads=2),
    Case("grouped heads, causal", window=(-1, 0), key_heads=1),
    Case("heads of 32", head_size=32),
    Case("heads of 128, causal", window=(-1, 0), head_size=128),
    Case("cross, some without keys", keys=_SOURCES),
)


@dataclass(frozen=True)
class Found:
    """Relative errors of the output and of the gradients of query, key and value."""

    errors: tuple[float, ...]
    finite: bool


def check_case(
    attend: VarlenFunction, case: Case, *, device: torch.device, dtype: torch.dtype
) -> Found:
    """Compare `attend` in `dtype` with attention in fp32 over the same rounded inputs."""
    generator = torch.Generator().manual_seed(0)
    shapes = (
        (sum(_RUNS), case.heads, case.head_size),
        (sum(case.keys), case.key_heads, case.head_size),
        (sum(case.keys), case.key_heads, case.head_size),
        (sum(_RUNS), case.heads, case.head_size),
    )
    *inputs, direction = (
        torch.randn(shape, generator=generator).to(device, dtype) for shape in shapes
    )
    scale = 1 / math.sqrt(case.head_size)
    query, key, value = leaves = [one.detach().requires_grad_() for one in inputs]
    offsets, key_offsets = (_offsets(runs, device) for runs in (_RUNS, case.keys))
    longest = 1 << (max(*_RUNS, *case.keys) - 1).bit_length()
    output = attend(
        query,
        key,
        value,
        offsets,
        key_offsets,
        longest,
        window=case.window,
        dropout=0.0,
        scale=scale,
    )
    found = (output, *torch.autograd.grad(output, leaves, direction))

    exact = [one.float().requires_grad_() for one in inputs]
    expected_output = plain_attention(
        exact[0], exact[1], exact[2], queries=_RUNS, keys=case.keys, window=case.window, scale=scale
    )
    gradients = torch.autograd.grad(expected_output, exact, direction.float())
    expected = (expected_output, *gradients)
    return Found(
        tuple(_relative(one, other) for one, other in zip(found, expected, strict=True)),
        all(bool(torch.isfinite(one).all()) for one in found),
    )


def in_columns(found: Found) -> dict[str, object]:
    """The columns of a table, with a failure if the errors are more than those of rounding."""
    columns: dict[str, object] = {
        f"error of {name}": error
        for name, error in zip(("output", "dq", "dk", "dv"), found.errors, strict=True)
    }
    columns["finite"] = found.finite
    if not found.finite or max(found.errors) > _LIMIT:
        columns[FAILED] = f"an error above {_LIMIT}, or a value that is not finite"
    return columns


def plain_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    queries: Sequence[int],
    keys: Sequence[int],
    window: tuple[int, int],
    scale: float,
) -> Tensor:
    """Softmax over masked scores of all cells: (N, H, S), twice (M, G, S) -> (N, H, S).

    A query without keys has an output of zeros.
    """
    groups = query.shape[1] // key.shape[1]
    key, value = (one.repeat_interleave(groups, dim=1) for one in (key, value))
    (sequence, place), (key_sequence, key_place) = (
        _places(runs, query.device) for runs in (queries, keys)
    )
    distance = place[:, None] - key_place
    hidden = sequence[:, None] != key_sequence
    hidden |= (distance > window[0]) if window[0] >= 0 else False
    hidden |= (-distance > window[1]) if window[1] >= 0 else False
    scores = torch.einsum("nhs,mhs->hnm", query, key) * scale
    # A finite value: a row without keys would be NaN, also in the gradients.
    weights = scores.masked_fill(hidden, -1e30).softmax(dim=-1).masked_fill(hidden, 0.0)
    return torch.einsum("hnm,mhs->nhs", weights, value)


def dropout_error(
    attend: VarlenFunction, *, device: torch.device, dtype: torch.dtype, dropout: float = 0.1
) -> float:
    """How far the mean output is from 1 where all values are 1: dropout keeps the expectation.

    NaN if a gradient is not finite.
    """
    query, key = (
        torch.randn(sum(_RUNS), 4, 64, device=device).to(dtype).requires_grad_() for _ in range(2)
    )
    offsets = _offsets(_RUNS, device)
    output = attend(
        query,
        key,
        torch.ones_like(key),
        offsets,
        offsets,
        128,
        window=_ALL,
        dropout=dropout,
        scale=1 / 8,
    )
    gradient = torch.autograd.grad(output.float().sum(), [query])[0]
    if not bool(torch.isfinite(gradient).all()):
        return math.nan
    return abs(float(output.detach().float().mean()) - 1)


def _places(runs: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Number of its sequence, and position in it, of each cell."""
    lengths = torch.tensor(runs)
    sequence = torch.repeat_interleave(torch.arange(len(runs)), lengths)
    first = (lengths.cumsum(0) - lengths)[sequence]
    return sequence.to(device), (torch.arange(len(sequence)) - first).to(device)


def _offsets(runs: Sequence[int], device: torch.device) -> Tensor:
    ends = torch.tensor([0, *runs]).cumsum(0)
    return ends.to(device, torch.int32)


def _relative(found: Tensor, expected: Tensor) -> float:
    found, expected = found.detach().float(), expected.detach()
    return float((found - expected).norm() / expected.norm())


def run(bench: Bench) -> None:
    device = the_device()
    if device.type != "cuda":
        bench.record("check", case="all", skipped="FlashAttention runs on GPUs only")
        return
    kernels = {"varlen_attn": flash_varlen, "operator": flash_operator}
    for dtype in (torch.bfloat16, torch.float16):
        precision = str(dtype).removeprefix("torch.")
        for kernel, attend in kernels.items():
            for case in CASES:
                names = {"kernel": kernel, "precision": precision, "case": case.name}
                with bench.case("check", **names):
                    found = check_case(attend, case, device=device, dtype=dtype)
                    bench.record("check", **names, **in_columns(found))
        names = {"kernel": "operator", "precision": precision, "case": "dropout 0.1"}
        with bench.case("check", **names):
            error = dropout_error(flash_varlen, device=device, dtype=dtype)
            failed = {} if error < _LIMIT else {FAILED: f"an error above {_LIMIT}, or NaN"}
            bench.record("check", **names, **{"error of the mean": error}, **failed)
