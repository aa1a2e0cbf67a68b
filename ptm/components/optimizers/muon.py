"""Muon (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks")."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from ptm.component import Listed, NonNegativeFloat, PositiveFloat
from ptm.components.optimizers.adamw import Beta
from ptm.components.optimizers.base import Optimizer, Shape

if TYPE_CHECKING:
    import torch
    from torch import nn


class Muon(Optimizer):
    """torch's Muon for the matrices of the repeated layers, torch's AdamW for all other parameters.

    Muon's update is the momentum, orthogonalised by Newton-Schulz iterations in bf16. AdamW updates
    embeddings, heads, biases and norms. Query, key and value projections are one matrix, which is
    orthogonalised as a whole.
    """

    type: Literal["muon"]
    weight_decay: NonNegativeFloat = 0.1
    """Decoupled weight decay, also of AdamW. Biases and norms do not decay."""
    momentum: Beta = 0.95
    """Decay rate of the running mean of gradients."""
    nesterov: bool = True
    """Use Nesterov's momentum."""
    ns_steps: Annotated[int, Field(ge=1, lt=100)] = 5
    """Number of Newton-Schulz iterations."""
    ns_coefficients: Annotated[tuple[float, float, float], Listed] = (3.4445, -4.775, 2.0315)
    """Coefficients of the Newton-Schulz polynomial."""
    ns_epsilon: PositiveFloat = 1e-7
    """Lower bound of the norm that a matrix is divided by before the iterations: torch's `eps`."""
    adjust_lr_fn: Literal["original", "match_rms_adamw"] = "match_rms_adamw"
    """Factor of the learning rate of a matrix with A rows and B columns. `match_rms_adamw` is
    0.2 sqrt(max(A, B)), so that the learning rate and weight decay of AdamW suit Muon too (Liu et
    al. 2025, section 2.2). `original`, torch's default, is sqrt(max(1, A / B)), which needs a
    larger learning rate than AdamW: set `adamw_learning_rate` too."""
    adamw_learning_rate: PositiveFloat | None = None
    """Peak learning rate of AdamW; that of Muon if left out."""
    beta1: Beta = 0.9
    """Decay rate of AdamW's first moment."""
    beta2: Beta = 0.999
    """Decay rate of AdamW's second moment."""
    epsilon: PositiveFloat = 1e-8
    """Added to the root of AdamW's second moment."""

    needs_whole_parameters: ClassVar[bool] = True

    def states(self, shape: Shape, *, hidden: bool = False) -> Mapping[str, Shape]:
        if hidden:
            return {"momentum_buffer": shape}
        return {"exp_avg": shape, "exp_avg_sq": shape}

    def build(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        rates: Mapping[str, float],
        *,
        hidden: Collection[str] = (),
    ) -> torch.optim.Optimizer:
        import torch

        from ptm.nn.optimizers.muon import JoinedOptimizers

        named = dict(parameters)
        matrices = {name: named[name] for name in named if name in hidden}
        others = {name: named[name] for name in named if name not in hidden}
        parts: list[torch.optim.Optimizer] = []
        if groups := self.groups(matrices.items(), rates):
            parts.append(
                torch.optim.Muon(
                    groups,
                    lr=self.learning_rate,
                    momentum=self.momentum,
                    nesterov=self.nesterov,
                    ns_coefficients=self.ns_coefficients,
                    eps=self.ns_epsilon,
                    ns_steps=self.ns_steps,
                    adjust_lr_fn=self.adjust_lr_fn,
                )
            )
        if groups := self.groups(others.items(), self._adamw_rates(others, rates)):
            parts.append(
                torch.optim.AdamW(
                    groups,
                    lr=self.learning_rate,
                    betas=(self.beta1, self.beta2),
                    eps=self.epsilon,
                    fused=True,
                )
            )
        return JoinedOptimizers(parts)

    def _adamw_rates(self, names: Iterable[str], rates: Mapping[str, float]) -> Mapping[str, float]:
        """The learning-rate factors of AdamW's parameters, relative to Muon's learning rate."""
        if self.adamw_learning_rate is None:
            return rates
        factor = self.adamw_learning_rate / self.learning_rate
        return {name: factor * rates.get(name, 1.0) for name in names}
