"""`init_from`: load the weights of another model that fit, and record what was loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ptm.errors import UserError
from ptm.interop.sources.open import open_source
from ptm.plan import Plan
from ptm.recipe.model_block import ModelBlock
from ptm.text.tokenizers import Tokenizer, TokenizerConfig
from ptm.train.warm_start.compatibility import check_compatible
from ptm.train.warm_start.layers import (
    check_layers,
    describe_layers,
    layers_in,
    select_layers,
    unused_names,
)


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
        )


def load_warm_start(
    path: str,
    plan: Plan,
    tokenizer: Tokenizer,
    model: ModelBlock,
    *,
    target: TokenizerConfig | None = None,
    every: int | None = None,
    layers: Sequence[int] = (),
) -> WarmStart:
    """Load the tensors of the model at `path` that the plan of `model` has too.

    `target`: the recipe's target_tokenizer. `every`, `layers`: load every n-th encoder layer of the
    source, or the listed ones, in this order. Raises UserError if a shared tensor has another
    shape, if the models share no encoder layer, if their layers compute differently, or if their
    vocabularies differ.
    """
    source = open_source(path)
    recipe = source.recipe()
    theirs = recipe.tokenizer.load()
    if theirs.vocabulary.tokens != tokenizer.vocabulary.tokens:
        raise UserError(
            f"init_from: {path}: the model's vocabulary has other tokens than "
            f"{tokenizer.config.source}, so its embeddings would belong to other words. Use the "
            f"model's vocabulary, or adapt the model to this vocabulary: `ptm vocab adapt {path} "
            f"OUT --vocab {tokenizer.config.source}`."
        )
    _check_target_tokenizer(path, recipe.target_tokenizer, target)
    everything = found = source.tensors()
    shapes = plan.parameter_shapes
    if every is not None or layers:
        layers = layers or layers_in(found)[::every]
        check_layers(path, layers, there=layers_in(found), here=layers_in(shapes))
        found = select_layers(found, layers)
    shared = {name: tensor for name, tensor in found.items() if name in shapes}
    for name, tensor in shared.items():
        if tuple(tensor.shape) != shapes[name]:
            raise UserError(
                f"init_from: {path}: {name} has shape {tuple(tensor.shape)} in the source, but "
                f"{shapes[name]} in this recipe."
            )
    if not any(name.startswith("encoder") for name in shared):
        raise UserError(
            f"init_from: {path}: the model has no encoder layer in common with this recipe."
        )
    check_compatible(path, recipe.model, model, shared)
    return WarmStart(
        source=path,
        weights=shared,
        new_names=tuple(sorted(shapes.keys() - shared.keys())),
        unused_names=tuple(
            sorted(unused_names(everything, layers) | (found.keys() - shapes.keys()))
        ),
        layers=tuple(layers),
    )


def _check_target_tokenizer(
    path: str, theirs: TokenizerConfig | None, ours: TokenizerConfig | None
) -> None:
    """Raise UserError if both models have a target vocabulary and the two differ."""
    if theirs is None or ours is None:
        return
    key = "target_tokenizer"
    if theirs.load(key=key).vocabulary.tokens != ours.load(key=key).vocabulary.tokens:
        raise UserError(
            f"init_from: {path}: the model's target vocabulary has other tokens than "
            f"{ours.source}, so its embeddings would belong to other words. Set target_tokenizer "
            "to that of the model."
        )
