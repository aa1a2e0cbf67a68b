"""Which parameters are trained, their learning-rate factors, and which ones Muon updates."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase

from ptm.components.adapters.base import Adapter
from ptm.components.optimizers import Optimizer
from ptm.errors import UserError, nearest
from ptm.plan import Plan
from ptm.recipe import Recipe


def frozen_parameters(plan: Plan, patterns: Sequence[str]) -> frozenset[str]:
    """The canonical names of the parameters that match one of `patterns` (`encoder_0[0-5]*`).

    Raises UserError if a pattern matches nothing, or if no parameter is left to train.
    """
    frozen: set[str] = set()
    for index, pattern in enumerate(patterns):
        frozen.update(_matched(plan, pattern, key=f"train.freeze.{index}"))
    names = plan.parameter_shapes.keys()
    if len(frozen) == len(names):
        raise UserError(
            f"train.freeze = {list(patterns)} matches all {len(names)} parameters, so nothing "
            "would be trained. Freeze fewer parameters."
        )
    return frozenset(frozen)


def _matched(plan: Plan, pattern: str, *, key: str) -> list[str]:
    """The parameters that match a pattern, which `key` of the recipe has.

    Raises UserError if nothing matches.
    """
    names = plan.parameter_shapes.keys()
    matched = [name for name in names if fnmatchcase(name, pattern)]
    if not matched:
        known = names if "." in pattern else {step.key for step in plan.operations}
        raise UserError(
            f'{key}: "{pattern}" matches no parameter of this model.{nearest(pattern, known)} A '
            'pattern must match the whole name: "encoder_00*" matches all parameters of the first '
            "layer."
        )
    return matched


def untrained_parameters(plan: Plan, recipe: Recipe) -> frozenset[str]:
    """The canonical names of the parameters that a training leaves as they are.

    These match `train.freeze`, or are frozen beside the adapter. Raises as `frozen_parameters`, and
    UserError if a pattern only matches what is frozen beside the adapter, or matches parameters of
    the adapter because they belong to a layer.
    """
    frozen = frozen_parameters(plan, recipe.train.freeze)
    if recipe.adapter is not None:
        beside = recipe.adapter.frozen(plan, head_is_pretrained=recipe.objective.predicts_tokens)
        _check_beside_adapter(plan, recipe.train.freeze, recipe.adapter, beside)
        frozen |= beside
        if len(frozen) == len(plan.parameter_shapes):
            raise UserError(
                f"train.freeze = {list(recipe.train.freeze)} matches all parameters of adapter and "
                "head, so nothing would be trained. Freeze fewer parameters."
            )
    return frozen


def _check_beside_adapter(
    plan: Plan, patterns: Sequence[str], adapter: Adapter, beside: Collection[str]
) -> None:
    """Raise UserError for a pattern of `train.freeze` that an adapter makes useless or wrong."""
    own = adapter.names(plan)
    for index, pattern in enumerate(patterns):
        key = f"train.freeze.{index}"
        matched = _matched(plan, pattern, key=key)
        if all(name in beside for name in matched):
            raise UserError(
                f'{key}: "{pattern}" only matches parameters that are frozen beside the adapter '
                "anyway. Remove it."
            )
        covered = next((name for name in matched if name in own), None)
        if covered is not None and any(name in beside for name in matched):
            raise UserError(
                f'{key}: "{pattern}" matches parameters of the adapter too ({covered}), which '
                "would not be trained. The weights beside them are frozen anyway. Remove the "
                "pattern, and choose the layers of the adapter by adapter.target_modules."
            )


def hidden_matrices(plan: Plan) -> frozenset[str]:
    """The canonical names of the matrices of the repeated blocks: no embeddings, heads, vectors."""
    blocks = {step.key for step in plan.operations if step.block}
    return frozenset(
        name
        for name, shape in plan.parameter_shapes.items()
        if len(shape) == 2 and name.partition(".")[0] in blocks
    )


def rate_factors(
    plan: Plan, optimizer: Optimizer, *, frozen: Collection[str] = ()
) -> dict[str, float]:
    """The learning-rate factor of every parameter, by canonical name.

    That of `layer_decay` times that of the last of `rates` whose pattern matches. Raises UserError
    if a pattern, or the decay, has no effect on any parameter that is not `frozen`.
    """
    decay = optimizer.layer_decay
    factors = dict.fromkeys(plan.parameter_shapes, 1.0) if decay is None else _decayed(plan, decay)
    if decay not in (None, 1) and all(
        factor == 1 for name, factor in factors.items() if name not in frozen
    ):
        raise UserError(
            f"optimizer.layer_decay = {decay:g} has no effect: the parameters below the last layer "
            "are frozen. Remove it."
        )
    own: dict[str, float] = {}
    for pattern, factor in (optimizer.rates or {}).items():
        matched = _matched(plan, pattern, key="optimizer.rates")
        if all(name in frozen for name in matched):
            raise UserError(
                f'optimizer.rates: "{pattern}" only matches frozen parameters, which have no '
                "learning rate. Remove it."
            )
        own |= dict.fromkeys(matched, factor)
    return {name: factor * own.get(name, 1.0) for name, factor in factors.items()}


def _decayed(plan: Plan, decay: float) -> dict[str, float]:
    """The factor of every parameter by layer-wise decay.

    Discriminative learning rates (Howard and Ruder 2018, section 3.1; Clark et al. 2020, appendix
    B). With L repeated blocks, counted from 0, the factor of block k is decay^(L - 1 - k). It is
    decay^L for everything before the first block, and 1 for everything after the last one (the
    head), as for the last block. A module that several operations share has the factor of the first
    of them: a tied output matrix counts as an embedding, and layers that share their weights as one
    block.
    """
    # For each module, the number of blocks up to and including its first operation.
    blocks_so_far: dict[str, int] = {}
    blocks = 0
    for step in plan.operations:
        if step.key not in blocks_so_far:
            blocks += step.block
            blocks_so_far[step.key] = blocks
    return {
        name: decay ** (blocks - blocks_so_far[name.partition(".")[0]])
        for name in plan.parameter_shapes
    }
