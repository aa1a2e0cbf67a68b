"""`init_from`: load the weights of another model that fit, and record what was loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ptm.components.objectives import Objective
from ptm.errors import UserError
from ptm.interop.sources.open import open_source
from ptm.model.build import build_plan
from ptm.plan import Plan
from ptm.recipe import ModelRecipe, Recipe
from ptm.recipe.model_block import ModelBlock
from ptm.text.tokenizers import Tokenizer, TokenizerConfig
from ptm.text.vocabulary import first_difference
from ptm.train.warm_start.compatibility import check_compatible, check_sizes
from ptm.train.warm_start.layers import (
    check_layers,
    describe_layers,
    layers_in,
    select_layers,
    unused_names,
)

if TYPE_CHECKING:
    from torch import Tensor

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class WarmStart:
    """Warm-start weights.

    `fresh`: parameters that keep their initial values. `left`: source tensors that are not used.
    """

    source: str
    weights: dict[str, Tensor]
    new_names: tuple[str, ...]
    unused_names: tuple[str, ...]
    layers: tuple[int, ...] = ()
    """If layers were chosen: the source layers that became layers 0, 1, ... of the encoder."""
    other_labels: str | None = None
    """Why the output layer is new although the source has one; None if it is not."""

    def provenance(self) -> dict[str, Any]:
        """Provenance of the weights, for run.json."""
        return {
            "source": self.source,
            "loaded": sorted(self.weights),
            **({"layers": list(self.layers)} if self.layers else {}),
            "fresh": list(self.new_names),
            "left": list(self.unused_names),
        }

    def __str__(self) -> str:
        taken = describe_layers(self.weights, fresh=self.new_names, left=self.unused_names)
        if self.layers:
            taken = f"encoder layers {', '.join(map(str, self.layers))} of the source"
        return (
            f"starting from {self.source}: {len(self.weights)} tensors loaded ({taken}); "
            f"initialised: {', '.join(self.new_names) or 'none'}; unused source tensors: "
            f"{', '.join(self.unused_names) or 'none'}"
            f"{f'; {self.other_labels}' if self.other_labels else ''}"
        )


def load_warm_start(
    path: str,
    plan: Plan,
    tokenizer: Tokenizer,
    model: ModelBlock,
    *,
    objective: Objective | None = None,
    target: TokenizerConfig | None = None,
    every: int | None = None,
    layers: Sequence[int] = (),
) -> WarmStart:
    """Load the tensors of the model at `path` that the plan of `model` has too.

    `objective`: that of the plan; an output layer for other labels than the source's is not loaded.
    `target`: the recipe's target_tokenizer. `every`, `layers`: load every n-th encoder layer of the
    source, or the listed ones, in this order. Raises UserError if a shared tensor has another
    shape, if the models share no encoder layer, if their layers compute differently, or if their
    vocabularies differ.
    """
    source = open_source(path)
    recipe = source.recipe()
    _check_vocabularies(path, recipe, tokenizer, target)
    everything = source.tensors()
    shapes = plan.parameter_shapes
    other_labels = _other_labels(recipe.objective, objective)
    of_labels = set() if other_labels is None else _of_labels(everything, recipe.objective)
    everything = {name: t for name, t in everything.items() if name not in of_labels}
    there = {name: tuple(tensor.shape) for name, tensor in everything.items()}
    chosen = _chosen_layers(path, there, shapes, every=every, layers=layers)
    found = select_layers(everything, chosen) if chosen else everything
    shared = _shared(path, select_layers(there, chosen) if chosen else there, shapes, recipe, model)
    return WarmStart(
        source=path,
        weights={name: found[name] for name in shared},
        new_names=tuple(sorted(shapes.keys() - shared.keys())),
        unused_names=tuple(
            sorted(unused_names(everything, chosen) | (found.keys() - shapes.keys()) | of_labels)
        ),
        layers=chosen,
        other_labels=other_labels,
    )


def _other_labels(theirs: Objective, ours: Objective | None) -> str | None:
    """Why the rows of the source's output layer do not belong to the labels of `ours`, or None."""
    if ours is None or not set(theirs.label_modules) & set(ours.label_modules):
        return None
    there, here = theirs.label_set, ours.label_set
    assert there is not None, "an objective with an output layer for labels has labels"
    assert here is not None, "an objective with an output layer for labels has labels"
    numbered = there.numbered or here.numbered
    same = len(there.names) == len(here.names) if numbered else there.names == here.names
    if same and theirs.type == ours.type:
        return None
    return (
        f"the output layer is new, because the source has the labels {there} (objective "
        f"{theirs.type}) and this recipe {here}"
    )


def _of_labels(names: Iterable[str], objective: Objective) -> set[str]:
    """The names of the parameters of the objective's output layer."""
    return {name for name in names if name.partition(".")[0] in objective.label_modules}


def check_warm_start(recipe: Recipe, tokenizer: Tokenizer) -> None:
    """Raise the UserErrors of `load_warm_start` that recipes show, without reading any weights.

    `recipe` must have `init_from`, whose model must be on this machine.
    """
    start, target = recipe.start, recipe.target_tokenizer
    assert start is not None, "the recipe has no init_from"
    theirs = open_source(start.source, download=False).recipe()
    _check_vocabularies(start.source, theirs, tokenizer, target)
    sizes = _vocabulary_sizes(recipe, tokenizer)
    there = build_plan(theirs.model, theirs.objective, **_vocabulary_sizes(theirs, tokenizer))
    here = build_plan(recipe.model, recipe.objective, **sizes)
    found, shapes = dict(there.parameter_shapes), here.parameter_shapes
    if _other_labels(theirs.objective, recipe.objective) is not None:
        of_labels = _of_labels(found, theirs.objective)
        found = {name: shape for name, shape in found.items() if name not in of_labels}
    chosen = _chosen_layers(start.source, found, shapes, every=start.every, layers=start.layers)
    if chosen:
        found = select_layers(found, chosen)
    _shared(start.source, found, shapes, theirs, recipe.model)


def _vocabulary_sizes(recipe: ModelRecipe, tokenizer: Tokenizer) -> dict[str, Any]:
    target = recipe.target_tokenizer
    return {
        "vocabulary_size": tokenizer.vocabulary.size,
        "target_vocabulary_size": target.read().size if target else None,
    }


def _check_vocabularies(
    path: str, source: ModelRecipe, tokenizer: Tokenizer, target: TokenizerConfig | None
) -> None:
    """Raise UserError if the source has other tokens than the recipe."""
    theirs, ours = source.tokenizer.load().vocabulary.tokens, tokenizer.vocabulary.tokens
    if theirs != ours:
        raise UserError(
            f"init_from: {path}: the model's vocabulary has other tokens than "
            f"{tokenizer.config.source} ({first_difference(theirs, ours)}), so its embeddings "
            "would belong to other words. Use the model's vocabulary, or adapt the model to this "
            f"vocabulary: `ptm vocab adapt {path} OUT --vocab {tokenizer.config.source}`."
        )
    _check_target_tokenizer(path, source.target_tokenizer, target)


def _chosen_layers(
    path: str, there: Shapes, here: Shapes, *, every: int | None, layers: Sequence[int]
) -> tuple[int, ...]:
    """The source layers to load, if the recipe chooses any. Raises UserError if they do not fit."""
    if every is None and not layers:
        return ()
    chosen = tuple(layers or layers_in(there)[::every])
    check_layers(path, chosen, there=layers_in(there), here=layers_in(here))
    return chosen


def _shared(
    path: str, there: Shapes, here: Shapes, source: ModelRecipe, model: ModelBlock
) -> Shapes:
    """The parameters in both models. Raises UserError if they differ in shape or meaning."""
    check_sizes(path, source.model, model)
    shared = {name: shape for name, shape in there.items() if name in here}
    if not any(name.startswith("encoder") for name in shared):
        raise UserError(
            f"init_from: {path}: the model has no encoder layer in common with this recipe."
        )
    check_compatible(path, source.model, model, shared)
    for name, shape in shared.items():
        if shape != here[name]:
            raise UserError(
                f"init_from: {path}: {name} has shape {shape} in the source, but {here[name]} in "
                "this recipe."
            )
    return shared


def _check_target_tokenizer(
    path: str, theirs: TokenizerConfig | None, ours: TokenizerConfig | None
) -> None:
    """Raise UserError if both models have a target vocabulary and the two differ."""
    if theirs is None or ours is None:
        return
    key = "target_tokenizer"
    there, here = (one.load(key=key).vocabulary.tokens for one in (theirs, ours))
    if there != here:
        raise UserError(
            f"init_from: {path}: the model's target vocabulary has other tokens than "
            f"{ours.source} ({first_difference(there, here)}), so its embeddings would belong to "
            "other words. Set target_tokenizer to that of the model."
        )
