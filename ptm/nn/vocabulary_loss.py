"""Cross entropy over a vocabulary without materialising all logits.

The logits of N positions and their gradient are the largest tensors of a small model. This module
computes logits, loss and gradients for a chunk of positions at a time, within the forward pass
(Wijmans et al. 2024, "Cut your losses in large-vocabulary language models", section 3). The fused
kernels of libraries are written in Triton and need a GPU; this implementation runs anywhere.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ptm.nn.linear import by_onednn, gradient_of_weight, linear, product

# N positions, B rows, T tokens per row, E embedding size, V vocabulary size, C positions per chunk.

CHUNK_ELEMENTS = 2**23
"""Maximum number of logits in memory at a time: 32 MiB in fp32."""


class VocabularySums(NamedTuple):
    """Scalars in fp32, summed over positions; only `loss` has a gradient."""

    loss: Tensor
    """Cross entropy with label smoothing, the training loss."""
    nll: Tensor
    """Negative log likelihood of the targets."""
    hits: Tensor
    """The number of positions whose target has the largest logit."""


def vocabulary_sums(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    weights: Tensor,
    *,
    bias: Tensor | None = None,
    smoothing: float = 0.0,
    chunk_elements: int = CHUNK_ELEMENTS,
) -> VocabularySums:
    """Loss, likelihood and hits of the logits `hidden` (N, E) @ `weight` (V, E).T + `bias` (V).

    `targets` (N) are token ids. Positions with `weights` (N) of 0 are ignored, whatever their
    target; other weights all count as 1. `loss` is the summed F.cross_entropy with label
    `smoothing` (Szegedy et al. 2016, section 7). Logits are computed in the precision of the
    inputs, everything after them in at least fp32. The gradients are computed in the forward pass
    and allow one backward pass.
    """
    loss, nll, hits = _VocabularySums.apply(  # type: ignore[no-untyped-call]
        hidden,
        weight,
        bias,
        targets,
        weights,
        smoothing,
        max(1, chunk_elements // weight.shape[0]),
        torch.is_grad_enabled(),
    )
    return VocabularySums(loss, nll, hits)


class _VocabularySums(torch.autograd.Function):
    """Saves the gradients of the unscaled loss in the forward pass; backward scales them."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        weights: Tensor,
        smoothing: float,
        chunk: int,
        needs_gradient: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        compute_dtype = torch.promote_types(hidden.dtype, torch.float32)
        needed = ctx.needs_input_grad[:3] if needs_gradient else (False, False, False)
        grad_hidden = torch.empty_like(hidden) if needed[0] else None
        grad_weight = torch.zeros_like(weight, dtype=compute_dtype) if needed[1] else None
        grad_bias = (
            torch.zeros_like(bias, dtype=compute_dtype) if bias is not None and needed[2] else None
        )
        counted = (weights != 0).to(compute_dtype)
        targets = targets.masked_fill(counted == 0, 0)
        sums = hidden.new_zeros(3, dtype=compute_dtype)
        for start in range(0, hidden.shape[0], chunk):
            chunk_rows = slice(start, start + chunk)
            logits = linear(hidden[chunk_rows], weight, bias).to(compute_dtype)
            totals = _accumulate_sums(
                logits, targets[chunk_rows], counted[chunk_rows], sums, smoothing=smoothing
            )
            if not any(needed):
                continue
            _exponentials_to_gradient(
                logits, targets[chunk_rows], counted[chunk_rows], totals, smoothing=smoothing
            )
            if grad_bias is not None:
                grad_bias += logits.sum(dim=0)
            grad_logits = logits.to(hidden.dtype)
            if grad_hidden is not None:
                _write_product(grad_hidden[chunk_rows], grad_logits, weight)
            if grad_weight is not None:
                _add_gradient(grad_weight, grad_logits, hidden[chunk_rows])
        ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
        ctx.dtype = hidden.dtype
        loss, nll, hits = sums[0].clone(), sums[1].clone(), sums[2].clone()
        ctx.mark_non_differentiable(nll, hits)
        return loss, nll, hits

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        # In place: with a large vocabulary, a copy would be the largest tensor of all.
        gradients = [
            None if gradient is None else gradient.mul_(scale).to(ctx.dtype)
            for gradient in ctx.saved_tensors
        ]
        return (*gradients, None, None, None, None, None)


def _accumulate_sums(
    logits: Tensor, targets: Tensor, counted: Tensor, sums: Tensor, *, smoothing: float
) -> Tensor:
    """Add loss, nll and hits of `logits` (C, V) to `sums` (3), in place.

    Overwrites `logits` with exp(logits - row maximum), and returns the sum of each row of it (C).
    """
    largest, likeliest = logits.max(dim=-1)
    logits -= largest[:, None]
    # chosen: the logits of the targets; apart: the label smoothing term of the loss (C).
    chosen = logits.gather(1, targets[:, None]).squeeze(1)
    smoothing_loss = (
        smoothing * (chosen - logits.mean(dim=-1)) if smoothing else torch.zeros_like(chosen)
    )
    totals = logits.exp_().sum(dim=-1)
    nll = totals.log() - chosen
    per_position = torch.stack([nll + smoothing_loss, nll, (likeliest == targets).to(nll.dtype)])
    # Not a product with `counted`: an ignored position may be infinite.
    sums += per_position.masked_fill(counted == 0, 0.0).sum(dim=1)
    return totals


def _exponentials_to_gradient(
    exponentials: Tensor, targets: Tensor, counted: Tensor, totals: Tensor, *, smoothing: float
) -> None:
    """Turn the exponentials (C, V), in place, into the gradient of the loss by the logits.

    That is counted * (softmax - (1 - smoothing) * one-hot target - smoothing / V).
    """
    exponentials *= (counted / totals)[:, None]
    if smoothing:
        exponentials -= (counted * (smoothing / exponentials.shape[1]))[:, None]
    exponentials.scatter_add_(1, targets[:, None], (counted * (smoothing - 1.0))[:, None])


def _write_product(result: Tensor, left: Tensor, right: Tensor) -> None:
    """`result` = `left` @ `right`."""
    if by_onednn(left, left.numel() * right.shape[1]):
        result.copy_(product(left, right))
    else:
        torch.mm(left, right, out=result)


def _add_gradient(total: Tensor, gradient: Tensor, x: Tensor) -> None:
    """`total` (V, E) += the gradient of the logits (C, V), transposed, @ `x` (C, E).

    `total` may have a higher precision.
    """
    if by_onednn(x, gradient.numel() * x.shape[1]):
        total += gradient_of_weight(gradient, x)
    elif total.dtype == gradient.dtype:
        total.addmm_(gradient.t(), x)
    else:
        total += gradient.t() @ x


def target_sums(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    weights: Tensor,
    bias: Tensor | None = None,
    *,
    smoothing: float,
) -> Tensor:
    """`vocabulary_sums` for hidden (B, T, E), targets and weights (B, T), as one tensor (3)."""
    # One tensor, because each that a pipeline stage sends must have a gradient.
    return torch.stack(
        vocabulary_sums(
            hidden.flatten(0, 1),
            weight,
            targets.flatten(),
            weights.flatten(),
            bias=bias,
            smoothing=smoothing,
        )
    )
