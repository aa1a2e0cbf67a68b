"""Initial weights as functions of (seed, canonical name).

They do not depend on the engine, on pipeline stages or on the order in which modules are built.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from ptm.components.decoders import Decoder
from ptm.components.encoders import Encoder
from ptm.model.plain_model import PlainModel, meta_model
from ptm.nn.embedding import WordEmbedding
from ptm.nn.lora import LowRank
from ptm.plan import Plan
from ptm.recipe.model_block import ModelBlock
from ptm.rng import seed_of

_NORMS = (nn.LayerNorm, nn.RMSNorm)


def norm_parameters(module: nn.Module) -> Iterator[str]:
    """Yield the names of the parameters of `module` that belong to norms."""
    for name, inner in module.named_modules():
        if isinstance(inner, _NORMS):
            for parameter, _ in inner.named_parameters(recurse=False):
                yield f"{name}.{parameter}" if name else parameter


def initial_value(
    name: str,
    shape: Iterable[int],
    *,
    seed: int,
    is_norm: bool,
    std: float,
    residual_outputs: tuple[str, ...] = (),
    residual_branches: int = 1,
    bound: float | None = None,
) -> Tensor:
    """The initial value of parameter `name`, an fp32 tensor of `shape`.

    Norm weights are 1, biases 0, all others drawn from N(0, std). Those with a suffix in
    `residual_outputs` have std / sqrt(residual_branches) (Radford et al. 2019, section 2.3).
    With `bound`, the value is drawn from U(-bound, bound) instead.
    """
    shape = tuple(shape)
    if bound is not None:
        generator = torch.Generator().manual_seed(seed_of(seed, "init", name))
        return torch.empty(shape).uniform_(-bound, bound, generator=generator)
    if name.endswith("bias"):
        return torch.zeros(shape)
    if is_norm:
        return torch.ones(shape)
    if name.endswith(residual_outputs):
        std /= math.sqrt(residual_branches)
    generator = torch.Generator().manual_seed(seed_of(seed, "init", name))
    return torch.empty(shape).normal_(0.0, std, generator=generator)


class InitialWeights:
    """The initial value of every parameter of a plan by canonical name, computed on access."""

    def __init__(self, plan: Plan, block: ModelBlock, *, seed: int) -> None:
        model = meta_model(plan)
        self._shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
        self._norms = frozenset(norm_parameters(model))
        self._words = frozenset(
            f"{name}.weight"
            for name, module in model.named_modules()
            if isinstance(module, WordEmbedding)
        )
        self._bounds = {
            f"{name}.{parameter}": bound
            for name, module in model.named_modules()
            if isinstance(module, LowRank)
            for parameter, bound in module.initial_bounds()
        }
        self._block = block
        self._seed = seed

    @property
    def names(self) -> tuple[str, ...]:
        """The canonical names of all parameters."""
        return tuple(self._shapes)

    def __getitem__(self, name: str) -> Tensor:
        """The initial value of parameter `name`: a whole fp32 tensor, computed again each time."""
        init = self._block.init
        stack: Encoder | Decoder = self._block.encoder
        if self._block.decoder is not None and name.startswith("decoder_"):
            stack = self._block.decoder
        return initial_value(
            name,
            self._shapes[name],
            seed=self._seed,
            is_norm=name in self._norms,
            std=(name in self._words and init.embedding_std) or init.std,
            residual_outputs=stack.residual_outputs() if init.residual_scaling else (),
            residual_branches=stack.residual_branches,
            bound=self._bounds.get(name),
        )


def initialise(model: PlainModel, block: ModelBlock, *, seed: int) -> None:
    """Set every parameter of `model`, in place, to its initial value."""
    first = InitialWeights(model.plan, block, seed=seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(first[name])
